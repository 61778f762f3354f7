// SPDX-License-Identifier: Apache-2.0
//
// Feeds the analysis damaged streams: each must be taken or refused with a StreamError. Built with
// address and undefined-behaviour checks (`make sanitize`), which end the program at anything else.
#include "fuzz.hpp"

#include "sgxlens/analysis.hpp"
#include "sgxlens/error.hpp"
#include "sgxlens/stream.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <random>
#include <string>
#include <vector>

namespace {

using Words = std::vector<std::uint64_t>;

constexpr int kRounds = 4000;
constexpr std::uint64_t kSeed = 20240229;

void add(Words &stream, std::uint32_t kind, std::uint32_t value,
         std::initializer_list<std::uint64_t> payload) {
    stream.push_back(SGXLENS_HEAD(kind, payload.size(), value));
    stream.insert(stream.end(), payload);
}

void add_text(Words &stream, std::uint32_t kind, std::uint32_t value, Words numbers,
              const std::string &text) {
    const std::size_t text_words = (text.size() + 7) / 8;
    stream.push_back(SGXLENS_HEAD(kind, numbers.size() + text_words, value));
    stream.insert(stream.end(), numbers.begin(), numbers.end());
    for (std::size_t i = 0; i < text_words; i++) {
        std::uint64_t word = 0;
        for (std::size_t j = 0; j < 8 && 8 * i + j < text.size(); j++)
            word |= static_cast<std::uint64_t>(static_cast<unsigned char>(text[8 * i + j]))
                    << (8 * j);
        stream.push_back(word);
    }
}

/// A stream that has every kind of record and of operation.
Words whole_stream() {
    Words stream;
    const std::string program = "/usr/bin/program";
    const std::string library = "/usr/lib/libc.so.6";
    const std::string path = "weights.bin";
    const std::string mark = "inference";
    add(stream, SGXLENS_TICK, 0, {1000});
    add_text(stream, SGXLENS_PROCESS, SGXLENS_PROCESS_STARTED, {100, 1, program.size()}, program);
    add(stream, SGXLENS_RECORDING, 1, {});
    add_text(stream, SGXLENS_MAP, SGXLENS_MAP_FILE | SGXLENS_PROT_READ | SGXLENS_PROT_EXEC,
             {0x400000, 0x10000, 0, library.size()}, library);
    add_text(stream, SGXLENS_MAP, SGXLENS_MAP_STACK | SGXLENS_PROT_READ | SGXLENS_PROT_WRITE,
             {0x7ff000000, 0x20000, 0, 0}, "");
    add(stream, SGXLENS_THREAD_START, 1, {0, 0x7ff010000, 100});
    add(stream, SGXLENS_THREAD, 1, {});
    add(stream, SGXLENS_DEFINE, 0,
        {0x400100,
         2 | (8ULL << 32),
         SGXLENS_EXIT(3ULL, 1ULL, 2ULL),
         SGXLENS_EXIT(8ULL, 4ULL, 5ULL),
         SGXLENS_OPERATION(SGXLENS_OP_FETCH, SGXLENS_BASE_NONE, 16ULL),
         0x400100,
         SGXLENS_OPERATION(SGXLENS_OP_LOAD, 0ULL, 8ULL),
         60,
         SGXLENS_OPERATION(SGXLENS_OP_STORE, 0ULL, 32ULL),
         static_cast<std::uint64_t>(-8),
         SGXLENS_OPERATION(SGXLENS_OP_LOAD_IF, 1ULL, 16ULL),
         0,
         SGXLENS_OPERATION(SGXLENS_OP_STORE_IF, 2ULL, 16ULL),
         0,
         SGXLENS_OPERATION(SGXLENS_OP_CPUID, 3ULL, 0ULL),
         0,
         SGXLENS_OPERATION(SGXLENS_OP_RDTSC, SGXLENS_BASE_NONE, 0ULL),
         0,
         SGXLENS_OPERATION(SGXLENS_OP_RDTSCP, SGXLENS_BASE_NONE, 0ULL),
         0});
    for (std::uint64_t i = 0; i < 8; i++) {
        add(stream, SGXLENS_RUN, 0, {0x600000 + 4096 * i});
        add(stream, SGXLENS_RUN, 1, {0x700000 + 24 * i, i % 2 ? 0x800ff8ULL : 0, 0x900000, i});
    }
    add(stream, SGXLENS_SYSCALL_ENTER, 257, {0x400180, 1, 2, 3, 4, 5, 6});
    add_text(stream, SGXLENS_PATH, static_cast<std::uint32_t>(path.size()), {}, path);
    add(stream, SGXLENS_KERNEL_READ, 0, {0x600000, 12});
    add(stream, SGXLENS_KERNEL_WRITE, 0, {0x600ff0, 5000});
    add(stream, SGXLENS_SYSCALL_EXIT, 257, {3});
    add(stream, SGXLENS_CLOCK, 1, {5, 6});
    add_text(stream, SGXLENS_MARK, static_cast<std::uint32_t>(mark.size()), {}, mark);
    const std::string weights = "weights:layer";
    add_text(stream, SGXLENS_ANNOTATION, SGXLENS_REGION, {0x700000, 4096, weights.size()}, weights);
    add_text(stream, SGXLENS_ANNOTATION, SGXLENS_OPERATOR_BEGIN, {0, 0, path.size()}, path);
    add(stream, SGXLENS_RUN, 0, {0x700000});
    add(stream, SGXLENS_ANNOTATION, SGXLENS_OPERATOR_END, {0, 0, 0});
    add(stream, SGXLENS_ANNOTATION, SGXLENS_OPERATOR_NOTE, {0, 0, 0});
    add(stream, SGXLENS_ANNOTATION, SGXLENS_REGION_END, {0x700000, 4096, 0});
    add(stream, SGXLENS_BREAK, 1, {0xa00000, 0x1000});
    add(stream, SGXLENS_PROTECT, SGXLENS_PROT_READ, {0x400000, 0x1000});
    add(stream, SGXLENS_REMAP, 0, {0x400000, 0x500000, 0x1000});
    add(stream, SGXLENS_UNMAP, 0, {0x500000, 0x1000});
    add(stream, SGXLENS_BREAK, 0, {0xa00000, 0x1000});
    add(stream, SGXLENS_SIGNAL, 11, {});
    add(stream, SGXLENS_THREAD_START, 2, {1, 0x7fe010000, 101});
    add(stream, SGXLENS_THREAD, 2, {});
    add(stream, SGXLENS_RUN, 0, {0x600040});
    add(stream, SGXLENS_THREAD_EXIT, 2, {});
    add(stream, SGXLENS_PROCESS_END, 0, {});
    return stream;
}

/// A word as a broken tracer or disk might write it. Sizes of megabytes are left out: they are
/// legal, and only take long.
std::uint64_t odd_word(std::mt19937_64 &random, const Words &stream) {
    switch (random() % 7) {
    case 0:
        return 0;
    case 1:
        return ~0ULL;
    case 2:
        return random() % 5000;
    case 3:
        return (random() | (1ULL << 40));
    case 4:
        return 0x7fffffffffffULL - random() % 100;
    case 5:
        return stream[random() % stream.size()];
    default:
        return SGXLENS_HEAD(random() % 32, random() % 40, random() % 4);
    }
}

void damage(Words &stream, std::mt19937_64 &random) {
    for (std::uint64_t left = 1 + random() % 4; left > 0 && !stream.empty(); left--) {
        const std::size_t at = random() % stream.size();
        const auto where = stream.begin() + static_cast<std::ptrdiff_t>(at);
        switch (random() % 5) {
        case 0:
            stream[at] = odd_word(random, stream);
            break;
        case 1:
            stream[at] ^= 1ULL << (random() % 64);
            break;
        case 2:
            stream.erase(where);
            break;
        case 3:
            stream.insert(where, odd_word(random, stream));
            break;
        default:
            stream.resize(at);
        }
    }
}

/// Feeds `stream` in two parts, as chunks come. Returns whether it was taken whole.
bool feed(const Words &stream, std::size_t first_words) {
    sgxlens::Analysis analysis({.sampling_rate = first_words % 3 == 0 ? 0.5 : 1.0,
                                .attribute = first_words % 2 == 0,
                                .split_at_clock_reads = first_words % 5 == 0});
    bool taken = true;
    try {
        // Copies of the exact size, so that reading past the end is seen.
        const Words first(stream.begin(),
                          stream.begin() + static_cast<std::ptrdiff_t>(first_words));
        const Words second(stream.begin() + static_cast<std::ptrdiff_t>(first_words), stream.end());
        analysis.feed(first.data(), first.size());
        analysis.feed(second.data(), second.size());
    } catch (const sgxlens::StreamError &) {
        taken = false;
    }
    analysis.finish(); // a recording is made of what came before the damage
    return taken;
}

} // namespace

int fuzz_streams() {
    const Words whole = whole_stream();
    if (!feed(whole, 0)) {
        std::puts("a whole stream was refused");
        return EXIT_FAILURE;
    }
    std::mt19937_64 random(kSeed);
    int taken = 0;
    for (int round = 0; round < kRounds; round++) {
        Words stream = whole;
        damage(stream, random);
        taken += feed(stream, stream.empty() ? 0 : random() % stream.size());
    }
    std::printf("%d damaged streams: %d taken, %d refused\n", kRounds, taken, kRounds - taken);
    return EXIT_SUCCESS;
}
