// SPDX-License-Identifier: Apache-2.0
//
// The program's mappings as they are at one moment: which object file an
// address belongs to.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

namespace sgxlens {

/// Numbers strings, so that tables hold a small number for a long path.
class Names {
  public:
    std::uint32_t number_of(const std::string &name);
    const std::vector<std::string> &all() const { return all_; }

  private:
    std::unordered_map<std::string, std::uint32_t> numbers_;
    std::vector<std::string> all_;
};

/// Non-overlapping ranges, each with the number of a file's name (0: none).
class AddressSpace {
  public:
    void map(std::uint64_t address, std::uint64_t size_bytes, std::uint32_t name);
    void unmap(std::uint64_t address, std::uint64_t size_bytes);
    std::uint32_t name_at(std::uint64_t address) const;

  private:
    struct Range {
        std::uint64_t end;
        std::uint32_t name;
    };
    std::map<std::uint64_t, Range> ranges_; ///< by start
};

} // namespace sgxlens
