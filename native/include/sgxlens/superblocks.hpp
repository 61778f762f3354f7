// SPDX-License-Identifier: Apache-2.0
//
// What superblocks do, compiled from SGXLENS_DEFINE records into the form in
// which runs of them are expanded fastest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sgxlens {

/// One operation of a superblock. Its address is `offset + record[base_word]`, or
/// `offset` alone where base_word is 0 (word 0 of a record is its head).
struct Operation {
    std::uint64_t offset;
    std::uint16_t size_bytes;
    std::uint16_t base_word;
    std::uint8_t kind;         ///< enum sgxlens_operation_kind
    std::uint8_t access_class; ///< AccessClass, where the kind is an access

    std::uint64_t address(const std::uint64_t *record) const {
        const std::uint64_t base = record[base_word];
        return offset + (base_word != 0 ? base : 0);
    }
};
static_assert(sizeof(Operation) == 16);

/// One way out of a superblock: the operations up to there are a prefix of its operations.
struct SuperblockExit {
    std::uint32_t first_operation; ///< index into operations()
    std::uint16_t operation_count;
    std::uint16_t value_count; ///< words of a run's payload
    std::uint16_t instruction_count;
    std::uint16_t simple; ///< 1: only accesses that always happen and touch at most two lines
};

class Superblocks {
  public:
    /// Takes the payload of a DEFINE record; `first_exit` is the record's value.
    /// Raises StreamError where it is malformed.
    void define(std::uint32_t first_exit, const std::uint64_t *payload, std::size_t words);

    /// The exit of that number, or null.
    const SuperblockExit *exit(std::uint32_t number) const {
        const std::uint32_t index = number - first_number_;
        return index < exits_.size() ? &exits_[index] : nullptr;
    }
    const Operation *operations(const SuperblockExit &exit) const {
        return operations_.data() + exit.first_operation;
    }
    std::size_t exit_count() const { return exits_.size(); }

  private:
    std::vector<SuperblockExit> exits_;
    std::vector<Operation> operations_;
    std::uint32_t first_number_ = 0; ///< a forked child goes on where its parent was
};

} // namespace sgxlens
