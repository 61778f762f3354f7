// SPDX-License-Identifier: Apache-2.0
#include "expand.hpp"

namespace sgxlens::detail {

std::uint64_t *expand_baseline(const Operation *operation, std::size_t count,
                               const std::uint64_t *record, std::size_t /*word_count*/,
                               std::uint64_t *out) {
    for (const Operation *const end = operation + count; operation < end; ++operation) {
        const std::uint64_t address = operation->address(record);
        const std::uint64_t first = (address & kAddressMask) >> kLineShift;
        const std::uint64_t last =
            ((address + operation->size_bytes - 1) & kAddressMask) >> kLineShift;
        // The second entry is written always and kept only where there is one: no branch.
        const auto access_class = static_cast<AccessClass>(operation->access_class);
        out[0] = make_entry(first, false, access_class);
        out[1] = make_entry(last, last % kLinesInPage != 0, access_class);
        out += 1 + (last != first);
    }
    return out;
}

} // namespace sgxlens::detail
