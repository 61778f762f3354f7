// SPDX-License-Identifier: Apache-2.0
//
// Runs of superblocks into accesses: the inner loop of decoding.
#pragma once

#include "sgxlens/reuse_stack.hpp"
#include "sgxlens/superblocks.hpp"

#include <cstddef>
#include <cstdint>

namespace sgxlens::detail {

/// User space ends here, so that a line number has 41 bits.
inline constexpr std::uint64_t kAddressMask = (std::uint64_t{1} << 47) - 1;
inline constexpr unsigned kLineShift = 6;
inline constexpr std::uint64_t kLinesInPage = 64;

/// Writes the entries of a run's simple operations to `out` and returns their end. There must be
/// room for two entries an operation and eight more. `word_count` counts the record's head.
using Expand = std::uint64_t *(*)(const Operation *operations, std::size_t count,
                                  const std::uint64_t *record, std::size_t word_count,
                                  std::uint64_t *out);

std::uint64_t *expand_baseline(const Operation *operations, std::size_t count,
                               const std::uint64_t *record, std::size_t word_count,
                               std::uint64_t *out);
std::uint64_t *expand_avx512(const Operation *operations, std::size_t count,
                             const std::uint64_t *record, std::size_t word_count,
                             std::uint64_t *out);

inline Expand best_expand() {
    return best_instruction_set() == InstructionSet::avx512 ? expand_avx512 : expand_baseline;
}

} // namespace sgxlens::detail
