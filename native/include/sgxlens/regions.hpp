// SPDX-License-Identifier: Apache-2.0
//
// What memory a line or page belongs to, as it is at one moment, and the record of how it was.
#pragma once

#include "sgxlens/attribution.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace sgxlens {

/// In the order of REGION_KINDS in src/sgxlens/recording/format.py.
enum class RegionKind : std::uint8_t {
    code,
    file,
    anonymous,
    heap,
    stack,
    shared_memory,
    constant,
    produced,
    scratch,
    declared,
    unmapped,
};
inline constexpr std::size_t kRegionKindCount = 11;

struct Region {
    RegionKind kind;
    std::string name; ///< of the file, or given by the program
    /// Of what was found by use: the context that reads (writes) it first, when it was found first.
    ContextNumber owner = kContextsMax;
};

struct Extent {
    std::uint64_t position; ///< line accesses made before
    std::uint64_t address;
    std::uint64_t size_bytes;
    RegionNumber region;
};

/// Ranges of lines that do not overlap, each with a region.
class RangeMap {
  public:
    struct Range {
        std::uint64_t first;
        std::uint64_t end; ///< one past the last line
        RegionNumber region;
    };
    void assign(std::uint64_t first, std::uint64_t end, RegionNumber region);
    /// Returns whether there was a range, in full or in part.
    bool erase(std::uint64_t first, std::uint64_t end);
    /// The range that holds a line; if none, the gap around it, of region kRegionsMax.
    Range at(std::uint64_t line) const;

  private:
    std::map<std::uint64_t, std::pair<std::uint64_t, RegionNumber>> ranges_;
};

class Regions {
  public:
    Regions();

    /// Each of these returns whether any line may be of another region than before.
    bool map(std::uint64_t position, std::uint64_t address, std::uint64_t size_bytes,
             std::uint32_t flags, const std::string &name);
    bool unmap(std::uint64_t position, std::uint64_t address, std::uint64_t size_bytes);
    bool protect(std::uint64_t position, std::uint64_t address, std::uint64_t size_bytes,
                 std::uint32_t flags);
    bool remap(std::uint64_t position, std::uint64_t from, std::uint64_t to,
               std::uint64_t size_bytes);
    bool change_break(std::uint64_t position, std::uint64_t address, std::uint64_t size_bytes,
                      bool grows);
    bool start_thread(std::uint64_t position, std::uint64_t stack_pointer);
    bool declare(std::uint64_t position, std::uint64_t address, std::uint64_t size_bytes,
                 const std::string &name);
    bool end_declared(std::uint64_t position, std::uint64_t address, std::uint64_t size_bytes);
    /// Lines [first, end) are of this kind, and that context uses them first, in span number
    /// `span` of its phase: by kind and this number regions are told apart.
    void found(std::uint64_t position, std::uint64_t first, std::uint64_t end, RegionKind kind,
               std::uint32_t span, ContextNumber owner);
    /// What was found of these lines holds no longer.
    void forget_found(std::uint64_t position, std::uint64_t first, std::uint64_t end);

    /// What a line is of, and which lines around it surely are of the same region.
    RangeMap::Range at(std::uint64_t line) const;
    /// The region of most of its lines; of several, the one lowest in memory.
    RegionNumber of_page(std::uint64_t page) const;
    /// Of a line, without regard to what was declared or found.
    RegionKind mapped_kind(std::uint64_t line) const;

    const std::vector<Region> &all() const { return all_; }
    const std::vector<Extent> &extents() const { return extents_; }
    std::size_t memory_bytes() const;

  private:
    static constexpr std::uint32_t kNoSpan = ~std::uint32_t{0};
    RegionNumber number_of(RegionKind kind, const std::string &name, std::uint32_t span = kNoSpan,
                           ContextNumber owner = kContextsMax);
    bool assign(RangeMap &ranges, std::uint64_t position, std::uint64_t address,
                std::uint64_t size_bytes, RegionNumber region);
    /// Logs of lines what they are by their mapping.
    void log_mapped(std::uint64_t position, std::uint64_t first, std::uint64_t end);
    void log(std::uint64_t position, std::uint64_t first, std::uint64_t end, RegionNumber region);

    RangeMap mapped_;
    RangeMap declared_; ///< what was declared or found, on top
    std::vector<Region> all_;
    std::map<std::tuple<RegionKind, std::string, std::uint32_t>, RegionNumber> numbers_;
    std::vector<Extent> extents_;
};

} // namespace sgxlens
