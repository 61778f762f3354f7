// SPDX-License-Identifier: Apache-2.0
//
// Runs of superblocks into accesses: the inner loop of decoding.
#pragma once

#include "sgxlens/line_use.hpp"
#include "sgxlens/reuse_stack.hpp"
#include "sgxlens/stream.h"
#include "sgxlens/superblocks.hpp"

#include <cstddef>
#include <cstdint>

namespace sgxlens::detail {

/// User space ends here, so that a line number has 41 bits.
inline constexpr std::uint64_t kAddressMask = (std::uint64_t{1} << 47) - 1;
inline constexpr unsigned kLineShift = 6;
inline constexpr std::uint64_t kLinesInPage = 64;

/// An entry as the stacks take it does not say which bytes of its line are accessed. Here it does,
/// above all else: the first of them, and the last.
inline constexpr unsigned kFirstByteShift = kEntryLineShift + kLineNumberBits;
inline constexpr unsigned kLastByteShift = kFirstByteShift + 6;
inline constexpr std::uint64_t kPlainEntry = (std::uint64_t{1} << kFirstByteShift) - 1;

constexpr std::uint64_t bytes_of_entry(std::uint64_t first_byte, std::uint64_t last_byte) {
    return first_byte << kFirstByteShift | last_byte << kLastByteShift;
}

/// Writes the entries of a run's simple operations, with their bytes, to `out` and returns their
/// end. There must be room for two entries an operation and eight more. `word_count` counts the
/// record's head.
using Expand = std::uint64_t *(*)(const Operation *operations, std::size_t count,
                                  const std::uint64_t *record, std::size_t word_count,
                                  std::uint64_t *out);

std::uint64_t *expand_baseline(const Operation *operations, std::size_t count,
                               const std::uint64_t *record, std::size_t word_count,
                               std::uint64_t *out);
std::uint64_t *expand_avx512(const Operation *operations, std::size_t count,
                             const std::uint64_t *record, std::size_t word_count,
                             std::uint64_t *out);

/// Notes the bytes of an entry of a line that is followed.
inline void note_entry(LineUses &uses, std::uint64_t entry) {
    const std::uint64_t bytes =
        bytes_of_line(entry >> kFirstByteShift & 63, entry >> kLastByteShift & 63);
    uses.note((entry & kPlainEntry) >> kEntryLineShift, bytes,
              (kWriteClasses >> (entry & kEntryClassMask) & 1) != 0 ? bytes : 0);
}

/// Takes the bytes off entries. Those of lines that are followed are copied to `found` before, in
/// their order; returns how many these are. There must be room for eight entries more than `count`,
/// in both places.
using Follow = std::size_t (*)(const LineSample &sample, std::uint64_t *entries, std::size_t count,
                               std::uint64_t *found);

std::size_t follow_baseline(const LineSample &sample, std::uint64_t *entries, std::size_t count,
                            std::uint64_t *found);
std::size_t follow_avx512(const LineSample &sample, std::uint64_t *entries, std::size_t count,
                          std::uint64_t *found);

inline Follow best_follow() {
    return best_instruction_set() == InstructionSet::avx512 ? follow_avx512 : follow_baseline;
}

inline Expand best_expand() {
    return best_instruction_set() == InstructionSet::avx512 ? expand_avx512 : expand_baseline;
}

} // namespace sgxlens::detail
