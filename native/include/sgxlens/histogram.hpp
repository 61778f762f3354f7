// SPDX-License-Identifier: Apache-2.0
//
// Access classes and the logarithmic bins in which reuse distances are counted.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace sgxlens {

enum class AccessClass : std::uint8_t { fetch, load, store, kernel_read, kernel_write };

inline constexpr std::size_t kAccessClassCount = 5;

// Distances below kExactDistances have a bin each. Above, each octave [2^k, 2^(k+1)) is split into
// kBinsPerOctave equal bins, so that every power of two is the lower bound of a bin. Line numbers
// are below 2^41, and so is every distance.
inline constexpr unsigned kExactDistanceBits = 6;
inline constexpr unsigned kBinsPerOctaveBits = 4;
inline constexpr unsigned kDistanceBits = 41;
inline constexpr std::uint64_t kExactDistances = std::uint64_t{1} << kExactDistanceBits;
inline constexpr std::uint64_t kBinsPerOctave = std::uint64_t{1} << kBinsPerOctaveBits;
inline constexpr std::uint64_t kDistanceMax = (std::uint64_t{1} << kDistanceBits) - 1;
inline constexpr std::size_t kBinCount =
    kExactDistances + (kDistanceBits - kExactDistanceBits) * kBinsPerOctave;

// In place of a bin: of accesses without a distance.
inline constexpr std::uint16_t kColdBin = 0xffff;

using Histogram = std::array<std::uint64_t, kBinCount>;

// The bin that counts `distance`; distances above kDistanceMax count as kDistanceMax.
constexpr std::size_t bin_of(std::uint64_t distance) {
    if (distance < kExactDistances)
        return distance;
    if (distance > kDistanceMax)
        return kBinCount - 1;
    const unsigned octave = static_cast<unsigned>(std::bit_width(distance)) - 1;
    const std::uint64_t within = (distance >> (octave - kBinsPerOctaveBits)) & (kBinsPerOctave - 1);
    return kExactDistances + (octave - kExactDistanceBits) * kBinsPerOctave + within;
}

// The least distance in `bin`.
constexpr std::uint64_t bin_min(std::size_t bin) {
    if (bin < kExactDistances)
        return bin;
    const std::size_t octave = (bin - kExactDistances) / kBinsPerOctave + kExactDistanceBits;
    const std::uint64_t within = (bin - kExactDistances) % kBinsPerOctave;
    return (kBinsPerOctave + within) << (octave - kBinsPerOctaveBits);
}

// The greatest distance in `bin`.
constexpr std::uint64_t bin_max(std::size_t bin) {
    return bin_min(bin + 1) - 1;
}

} // namespace sgxlens
