// SPDX-License-Identifier: Apache-2.0
#include "sgxlens/address_space.hpp"

namespace sgxlens {

std::uint32_t Names::number_of(const std::string &name) {
    const auto [found, added] = numbers_.try_emplace(name, static_cast<std::uint32_t>(all_.size()));
    if (added)
        all_.push_back(name);
    return found->second;
}

void AddressSpace::map(std::uint64_t address, std::uint64_t size_bytes, std::uint32_t name) {
    if (size_bytes == 0 || address + size_bytes < address)
        return;
    unmap(address, size_bytes);
    ranges_[address] = Range{address + size_bytes, name};
}

void AddressSpace::unmap(std::uint64_t address, std::uint64_t size_bytes) {
    const std::uint64_t end = address + size_bytes;
    if (size_bytes == 0 || end < address)
        return;
    auto it = ranges_.upper_bound(address);
    if (it != ranges_.begin())
        --it;
    while (it != ranges_.end() && it->first < end) {
        const std::uint64_t start = it->first;
        const Range range = it->second;
        if (range.end <= address) {
            ++it;
            continue;
        }
        it = ranges_.erase(it);
        if (start < address)
            ranges_[start] = Range{address, range.name};
        if (range.end > end)
            it = ranges_.emplace(end, Range{range.end, range.name}).first;
    }
}

std::uint32_t AddressSpace::name_at(std::uint64_t address) const {
    auto it = ranges_.upper_bound(address);
    if (it == ranges_.begin())
        return 0;
    --it;
    return address < it->second.end ? it->second.name : 0;
}

} // namespace sgxlens
