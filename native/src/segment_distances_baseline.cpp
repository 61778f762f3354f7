// SPDX-License-Identifier: Apache-2.0
#include "segment_distances.hpp"

namespace sgxlens::detail {
namespace {

template <typename Difference>
bool are_kept(const std::uint64_t *words, const Difference *differences, const std::uint8_t *bases,
              const std::uint64_t *values, std::size_t count) {
    std::uint64_t wrong = 0;
    std::size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        for (std::size_t k = i; k < i + 8; ++k)
            wrong |= words[k] - wide(differences[k]) - values[bases[k]];
        if (wrong != 0)
            return false;
    }
    for (; i < count; ++i)
        wrong |= words[i] - wide(differences[i]) - values[bases[i]];
    return wrong == 0;
}

} // namespace

const Distances kDistancesBaseline = {are_kept<std::uint64_t>, are_kept<std::int32_t>};

} // namespace sgxlens::detail
