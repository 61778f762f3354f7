// SPDX-License-Identifier: Apache-2.0
#include "reuse_counts.hpp"

#include "sgxlens/reuse_stack.hpp"

#include <utility>

namespace sgxlens::detail {
namespace {

constexpr std::size_t kNearCounts = std::size_t{1} << kBinRegionShift; // of a region
constexpr std::size_t kFarCounts = kClassSlots * kBinCount;

} // namespace

void RegionCounts::make(std::size_t count) {
    // Most regions never get a count: their part of the tables is never touched.
    near_storage_ = MappedArray<std::uint64_t>((count + 1) * kNearCounts, PageUse::as_needed);
    far_storage_ = MappedArray<std::uint64_t>((count + 1) * kFarCounts, PageUse::as_needed);
    near = near_storage_.data();
    far = far_storage_.data();
}

std::size_t RegionCounts::memory_bytes() const {
    return (region_limit + 1) * (kNearCounts + kFarCounts) * sizeof(std::uint64_t);
}

void RegionCounts::take(std::array<Histogram, kAccessClassCount> &phase, ContextNumber context,
                        std::uint64_t sampling_threshold, std::vector<SourceCount> *counts) {
    const auto take_row = [&](RegionNumber region, std::size_t access_class) {
        const std::size_t row = (region + std::size_t{1}) * kClassSlots + access_class;
        std::uint64_t *const near_row = near + row * kWindowDistances;
        std::uint64_t *const far_row = far + row * kBinCount;
        for (std::size_t d = 0; d < kWindowDistances; ++d) {
            if (near_row[d] == 0)
                continue;
            const std::uint64_t half = sampling_threshold / 2;
            far_row[bin_of(((d << kSamplingBits) + half) / sampling_threshold)] += near_row[d];
            near_row[d] = 0;
        }
        constexpr std::size_t kStep = 8;
        static_assert(kBinCount % kStep == 0);
        for (std::size_t start = 0; start < kBinCount; start += kStep) {
            std::uint64_t any = 0;
            for (std::size_t bin = start; bin < start + kStep; ++bin)
                any |= far_row[bin];
            if (any == 0)
                continue;
            for (std::size_t bin = start; bin < start + kStep; ++bin) {
                const std::uint64_t count = std::exchange(far_row[bin], 0);
                phase[access_class][bin] += count;
                if (count != 0 && counts != nullptr)
                    counts->push_back({count, context, region, static_cast<std::uint16_t>(bin),
                                       static_cast<std::uint8_t>(access_class)});
            }
        }
    };
    for (std::size_t i = 0; i < region_count; ++i)
        for (std::size_t c = 0; c < kAccessClassCount; ++c)
            if ((classes[regions[i]] >> c & 1) != 0)
                take_row(regions[i], c);
}

void SourceCounts::insert(std::uint64_t key, std::uint64_t slot) {
    entries_[slot] = {key, 1};
    used_.push_back(static_cast<std::uint32_t>(slot));
    if (used_.size() <= storage_.size() / 2)
        return;
    const std::vector<Entry> old = std::move(storage_);
    storage_ = std::vector<Entry>(old.size() * 2);
    entries_ = storage_.data();
    mask_ = storage_.size() - 1;
    --shift_;
    for (std::uint32_t &used : used_) {
        std::uint64_t to = home_of(old[used].key);
        while (entries_[to].key != 0)
            to = (to + 1) & mask_;
        entries_[to] = old[used];
        used = static_cast<std::uint32_t>(to);
    }
}

void SourceCounts::take(std::array<Histogram, kAccessClassCount> &phase,
                        std::vector<SourceCount> *counts) {
    constexpr std::uint64_t kBinMask = (std::uint64_t{1} << kDistanceBinBits) - 1;
    for (const std::uint32_t slot : used_) {
        const Entry entry = std::exchange(entries_[slot], Entry{});
        const std::uint64_t bin = entry.key & kBinMask;
        const std::uint64_t row = entry.key >> kDistanceBinBits & ((1u << kRowBits) - 1);
        const std::uint64_t access_class = row % kClassSlots;
        const bool cold = bin == (kColdBin & kBinMask);
        if (!cold)
            phase[access_class][bin] += entry.count;
        if (counts != nullptr)
            counts->push_back(
                {entry.count,
                 cold ? 0 : static_cast<ContextNumber>(entry.key >> (kDistanceBinBits + kRowBits)),
                 static_cast<RegionNumber>(row / kClassSlots - 1),
                 cold ? kColdBin : static_cast<std::uint16_t>(bin),
                 static_cast<std::uint8_t>(access_class)});
    }
    used_.clear();
}

} // namespace sgxlens::detail
