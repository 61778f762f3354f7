// SPDX-License-Identifier: Apache-2.0
#include "sgxlens/superblocks.hpp"

#include "sgxlens/error.hpp"
#include "sgxlens/histogram.hpp"
#include "sgxlens/stream.h"

#include <algorithm>
#include <limits>

namespace sgxlens {
namespace {

Operation compile(std::uint64_t word, std::uint64_t offset, std::uint32_t value_count) {
    const std::uint32_t kind = SGXLENS_OPERATION_KIND(word);
    const std::uint32_t base = SGXLENS_OPERATION_BASE(word);
    if (kind > SGXLENS_OP_LAST)
        throw StreamError("unknown operation in a superblock");
    if (base != SGXLENS_BASE_NONE && base >= value_count)
        throw StreamError("a superblock's operation names a value that is not there");
    const bool needs_value =
        kind == SGXLENS_OP_LOAD_IF || kind == SGXLENS_OP_STORE_IF || kind == SGXLENS_OP_CPUID;
    if (needs_value && base == SGXLENS_BASE_NONE)
        throw StreamError("a superblock's operation lacks its value");

    Operation operation{};
    operation.offset = offset;
    operation.base_word = static_cast<std::uint16_t>(base == SGXLENS_BASE_NONE ? 0 : 1 + base);
    operation.kind = static_cast<std::uint8_t>(kind);
    if (kind <= SGXLENS_OP_STORE_IF) {
        const std::uint32_t size_bytes = SGXLENS_OPERATION_SIZE(word);
        if (size_bytes == 0 || size_bytes > SGXLENS_PAGE_BYTES)
            throw StreamError("a superblock's access has an impossible size");
        operation.size_bytes = static_cast<std::uint16_t>(size_bytes);
        const AccessClass access_class = kind == SGXLENS_OP_FETCH ? AccessClass::fetch
                                         : kind == SGXLENS_OP_LOAD || kind == SGXLENS_OP_LOAD_IF
                                             ? AccessClass::load
                                             : AccessClass::store;
        operation.access_class = static_cast<std::uint8_t>(access_class);
    }
    return operation;
}

} // namespace

void Superblocks::define(std::uint32_t first_exit, const std::uint64_t *payload,
                         std::size_t words) {
    if (words < 2)
        throw StreamError("a superblock's definition is cut short");
    const std::size_t exit_count = payload[1] & 0xffffffffu;
    const std::size_t operation_count = payload[1] >> 32;
    if (exit_count == 0 || exit_count > words || operation_count > words ||
        2 + exit_count + 2 * operation_count != words)
        throw StreamError("a superblock's definition has the wrong length");
    if (exits_.empty())
        first_number_ = first_exit;
    if (first_exit - first_number_ != exits_.size() ||
        exits_.size() + exit_count > std::numeric_limits<std::uint32_t>::max() / 2 ||
        operations_.size() + operation_count > std::numeric_limits<std::uint32_t>::max())
        throw StreamError("superblocks are not numbered in order");

    const std::uint64_t *exit_words = payload + 2;
    const std::uint64_t *operation_words = exit_words + exit_count;
    const std::uint32_t first_operation = static_cast<std::uint32_t>(operations_.size());
    const std::uint32_t value_count = SGXLENS_EXIT_VALUES(exit_words[exit_count - 1]);

    // Kept consistent if it throws half-way: nothing refers to operations of exits not added.
    std::vector<std::uint32_t> values_needed(operation_count); // by the operations up to there
    std::vector<std::uint8_t> simple(operation_count);
    for (std::size_t i = 0; i < operation_count; i++) {
        const Operation operation =
            compile(operation_words[2 * i], operation_words[2 * i + 1], value_count);
        const bool plain =
            operation.kind <= SGXLENS_OP_STORE && operation.size_bytes <= SGXLENS_LINE_BYTES;
        values_needed[i] =
            std::max<std::uint32_t>(i > 0 ? values_needed[i - 1] : 0, operation.base_word);
        simple[i] = plain && (i == 0 || simple[i - 1]);
        operations_.push_back(operation);
    }
    std::vector<SuperblockExit> added;
    for (std::size_t i = 0; i < exit_count; i++) {
        SuperblockExit exit{};
        exit.first_operation = first_operation;
        exit.operation_count = static_cast<std::uint16_t>(SGXLENS_EXIT_OPERATIONS(exit_words[i]));
        exit.value_count = static_cast<std::uint16_t>(SGXLENS_EXIT_VALUES(exit_words[i]));
        exit.instruction_count =
            static_cast<std::uint16_t>(SGXLENS_EXIT_INSTRUCTIONS(exit_words[i]));
        if (exit.operation_count > operation_count)
            throw StreamError("a superblock's exit has more operations than the superblock");
        if (exit.operation_count > 0) {
            if (values_needed[exit.operation_count - 1] > exit.value_count)
                throw StreamError("a superblock's exit has fewer values than its operations need");
            exit.simple = simple[exit.operation_count - 1];
        } else {
            exit.simple = 1;
        }
        added.push_back(exit);
    }
    exits_.insert(exits_.end(), added.begin(), added.end());
}

} // namespace sgxlens
