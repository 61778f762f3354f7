// SPDX-License-Identifier: Apache-2.0
//
// Reads rings whose control block is damaged, as a broken tracer would leave it: each must be read
// to an end or refused with a StreamError, and no word outside of its chunks be touched.
#include "fuzz.hpp"

#include "sgxlens/error.hpp"
#include "sgxlens/ring.hpp"
#include "sgxlens/stream.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <random>
#include <string>
#include <unistd.h>
#include <vector>

namespace {

constexpr int kRounds = 3000;
constexpr std::uint64_t kSeed = 20240301;
constexpr std::uint32_t kChunkCount = 4;
constexpr std::uint32_t kChunkWords = 16;
constexpr std::uint32_t kPublished = 3;

using Image = std::vector<char>;

/// A ring with three published chunks and a fourth begun. Each word is its own number.
Image whole_ring() {
    sgxlens_ring control{};
    control.magic = SGXLENS_STREAM_MAGIC;
    control.version = SGXLENS_STREAM_VERSION;
    control.chunk_count = kChunkCount;
    control.chunk_words = kChunkWords;
    control.state = SGXLENS_RING_OPEN;
    control.partial_words = 5;
    control.published = kPublished;
    for (std::uint32_t i = 0; i < kPublished; i++)
        control.used_words[i] = kChunkWords - i;
    std::array<std::uint64_t, kChunkCount * kChunkWords> words{};
    std::iota(words.begin(), words.end(), 0);
    Image image(sizeof control + sizeof words);
    std::memcpy(image.data(), &control, sizeof control);
    std::memcpy(image.data() + sizeof control, words.data(), sizeof words);
    return image;
}

void damage(Image &image, std::mt19937_64 &random) {
    // The fields that mean something, and one that does not.
    constexpr std::array<std::size_t, 9> fields{
        offsetof(sgxlens_ring, magic),       offsetof(sgxlens_ring, version),
        offsetof(sgxlens_ring, chunk_count), offsetof(sgxlens_ring, chunk_words),
        offsetof(sgxlens_ring, state),       offsetof(sgxlens_ring, partial_words),
        offsetof(sgxlens_ring, published),   offsetof(sgxlens_ring, consumed),
        offsetof(sgxlens_ring, used_words)};
    constexpr std::array<std::uint32_t, 8> odd{0, 1, 2, 3, 17, 64, 0x7fffffff, 0xffffffff};
    for (std::uint64_t left = 1 + random() % 3; left > 0; left--) {
        const std::uint32_t value =
            random() % 2 != 0 ? odd[random() % odd.size()] : static_cast<std::uint32_t>(random());
        std::memcpy(image.data() + fields[random() % fields.size()], &value, sizeof value);
    }
    if (random() % 8 == 0)
        image.resize(random() % image.size());
}

/// Returns how many words were read, or -1 if the ring was refused.
long read(const std::string &path, const Image &image) {
    std::ofstream(path, std::ios::binary).write(image.data(), static_cast<long>(image.size()));
    try {
        sgxlens::Ring ring(path);
        ring.writer_is_gone();
        long count = 0;
        std::uint64_t sum = 0;
        ring.drain([&](const std::uint64_t *words, std::size_t word_count) {
            for (std::size_t i = 0; i < word_count; i++)
                sum += words[i];
            count += static_cast<long>(word_count);
        });
        return sum < ~0ULL ? count : 0; // the words must have been looked at
    } catch (const sgxlens::StreamError &) {
        return -1;
    }
}

} // namespace

int fuzz_rings() {
    std::string folder = (std::filesystem::temp_directory_path() / "sgxlens-XXXXXX").string();
    if (mkdtemp(folder.data()) == nullptr) {
        std::perror("mkdtemp");
        return EXIT_FAILURE;
    }
    const std::string path = folder + "/ring";
    const Image whole = whole_ring();
    const long expected = kChunkWords * 3 - (0 + 1 + 2) + 5;
    bool right = read(path, whole) == expected;
    if (!right)
        std::puts("a whole ring was read wrongly");
    std::mt19937_64 random(kSeed);
    int refused = 0;
    for (int round = 0; round < kRounds; round++) {
        Image image = whole;
        damage(image, random);
        refused += read(path, image) < 0;
    }
    std::filesystem::remove_all(folder);
    std::printf("%d damaged rings: %d read, %d refused\n", kRounds, kRounds - refused, refused);
    return right ? EXIT_SUCCESS : EXIT_FAILURE;
}
