// SPDX-License-Identifier: Apache-2.0
//
// In what a reuse stack counts distances: by region and class, and for the first access to a block
// in a context also by where the block was accessed before.
#pragma once

#include "mapped_array.hpp"
#include "sgxlens/attribution.hpp"
#include "sgxlens/histogram.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace sgxlens::detail {

// Classes as three bits of an entry can name them. Those above kAccessClassCount do not occur,
// but must not lead outside the tables.
inline constexpr unsigned kClassBits = 3;
inline constexpr std::size_t kClassSlots = std::size_t{1} << kClassBits;

inline constexpr unsigned kWindowDistanceBits = 7;
inline constexpr std::size_t kWindowDistances = std::size_t{1} << kWindowDistanceBits;

// The bin of a region and class in RegionCounts::near:
//     (region + 1) << 10 | class << 7
// to which a distance in the window is added. In place of region -1 nothing is counted.
inline constexpr unsigned kBinRegionShift = kClassBits + kWindowDistanceBits;
inline constexpr std::uint32_t kBinClasses = (kClassSlots - 1) << kWindowDistanceBits;
inline constexpr std::uint32_t kNoBin = kWindowDistances; // whatever is added, from -1 on
inline constexpr std::uint32_t kRegionZero = std::uint32_t{1} << kBinRegionShift;
// Set in the bin of an access that is the first to its block in the context.
inline constexpr std::uint32_t kFirstBin = std::uint32_t{1} << 31;

/// Counts by region and class. Distances of accesses met in the window are counted apart.
struct RegionCounts {
    std::uint64_t *near = nullptr; ///< by bin, see above
    std::uint64_t *far = nullptr;  ///< kBinCount for each bin >> kWindowDistanceBits

    /// Of each region the classes (a bit set) that may have counts; and the regions that have any.
    std::array<std::uint8_t, kRegionsMax> classes{};
    std::array<RegionNumber, kRegionsMax> regions{};
    std::size_t region_count = 0;
    std::uint32_t region_limit = 0; ///< above all that ever had

    /// Makes room for so many regions. Throws std::bad_alloc.
    void make(std::size_t count);

    void use(std::uint32_t region, unsigned new_classes) {
        if (classes[region] == 0) {
            regions[region_count++] = static_cast<RegionNumber>(region);
            region_limit = region < region_limit ? region_limit : region + 1;
        }
        classes[region] = static_cast<std::uint8_t>(classes[region] | new_classes);
    }
    void use_none() {
        for (std::size_t i = 0; i < region_count; ++i)
            classes[regions[i]] = 0;
        region_count = 0;
    }
    void add(std::uint32_t bin, std::size_t distance_bin, std::uint64_t count) {
        far[(bin >> kWindowDistanceBits) * kBinCount + distance_bin] += count;
    }
    /// Adds all counts to those of a phase, by class, and appends them, if wanted, as reuses
    /// within `context`; then forgets them. Distances in the window are scaled as in the kernel.
    void take(std::array<Histogram, kAccessClassCount> &phase, ContextNumber context,
              std::uint64_t sampling_threshold, std::vector<SourceCount> *counts);
    std::size_t memory_bytes() const;

  private:
    MappedArray<std::uint64_t> near_storage_;
    MappedArray<std::uint64_t> far_storage_;
};

/// Counts by source, region, class and distance bin: a hash table.
class SourceCounts {
  public:
    SourceCounts() = default;
    SourceCounts(const SourceCounts &) = delete;
    SourceCounts &operator=(const SourceCounts &) = delete;

    static constexpr std::uint32_t kCold = kContextsMax;

    /// Counts an access whose bin (see above) and distance bin are these; kColdBin if cold.
    void add(std::uint32_t source, std::uint32_t bin, std::size_t distance_bin) {
        const std::uint64_t row = (bin & ~kFirstBin) >> kWindowDistanceBits;
        const std::uint64_t key = (std::uint64_t{source} << kRowBits | row) << kDistanceBinBits |
                                  (distance_bin & ((std::size_t{1} << kDistanceBinBits) - 1));
        std::uint64_t slot = home_of(key);
        while (entries_[slot].key != key) {
            if (entries_[slot].key == 0) {
                insert(key, slot);
                return;
            }
            slot = (slot + 1) & mask_;
        }
        ++entries_[slot].count;
    }

    /// As that of RegionCounts; cold accesses have no part in a phase's distances.
    void take(std::array<Histogram, kAccessClassCount> &phase, std::vector<SourceCount> *counts);
    std::size_t memory_bytes() const {
        return storage_.capacity() * sizeof(Entry) + used_.capacity() * sizeof used_[0];
    }

  private:
    static constexpr unsigned kRowBits = kRegionBits + kClassBits + 1;
    static constexpr unsigned kDistanceBinBits = 10;
    static_assert(kBinCount < (std::size_t{1} << kDistanceBinBits) - 1);

    struct Entry {
        std::uint64_t key; ///< 0: none; rows are not 0
        std::uint64_t count;
    };
    std::uint64_t home_of(std::uint64_t key) const { return (key * 0x9e3779b97f4a7c15u) >> shift_; }
    /// Adds a key, with a count of 1, at the empty slot where it belongs.
    void insert(std::uint64_t key, std::uint64_t slot);

    static constexpr unsigned kFirstBits = 10;
    // Kernels are to use no functions of the standard library, see reuse_kernel.hpp.
    std::vector<Entry> storage_ = std::vector<Entry>(std::size_t{1} << kFirstBits);
    Entry *entries_ = storage_.data();
    std::uint64_t mask_ = storage_.size() - 1;
    std::vector<std::uint32_t> used_;
    unsigned shift_ = 64 - kFirstBits;
};

} // namespace sgxlens::detail
