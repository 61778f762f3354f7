// SPDX-License-Identifier: Apache-2.0
//
// How words of a stream are compared with a pattern: the inner loop of finding segments and rows.
#pragma once

#include "sgxlens/reuse_stack.hpp"

#include <cstddef>
#include <cstdint>

namespace sgxlens::detail {

inline constexpr std::size_t kBasesMax = 64; ///< of a pattern, the absolute one included

constexpr std::uint64_t wide(std::uint64_t difference) {
    return difference;
}
constexpr std::uint64_t wide(std::int32_t difference) {
    return static_cast<std::uint64_t>(std::int64_t{difference});
}

/// Whether words[i] is differences[i] more than values[bases[i]], for all i below `count`. There
/// are kBasesMax values.
struct Distances {
    bool (*are_kept)(const std::uint64_t *words, const std::uint64_t *differences,
                     const std::uint8_t *bases, const std::uint64_t *values, std::size_t count);
    bool (*are_kept_small)(const std::uint64_t *words, const std::int32_t *differences,
                           const std::uint8_t *bases, const std::uint64_t *values,
                           std::size_t count);
};
extern const Distances kDistancesBaseline;
extern const Distances kDistancesAvx512;

inline const Distances &best_distances() {
    static const Distances &best =
        best_instruction_set() == InstructionSet::avx512 ? kDistancesAvx512 : kDistancesBaseline;
    return best;
}

} // namespace sgxlens::detail
