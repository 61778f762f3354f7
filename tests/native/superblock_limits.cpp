// SPDX-License-Identifier: Apache-2.0
//
// The longest superblocks that a record can hold, run with the buffer of accesses filled to each
// length before: none may write past its end. A longer one must be refused.
#include "fuzz.hpp"

#include "sgxlens/analysis.hpp"
#include "sgxlens/error.hpp"
#include "sgxlens/stream.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

using Words = std::vector<std::uint64_t>;

/// A superblock of accesses that cross from one line into the next.
void define(Words &stream, std::uint32_t first_exit, std::uint64_t operation_count) {
    stream.push_back(SGXLENS_HEAD(SGXLENS_DEFINE, 3 + 2 * operation_count, first_exit));
    stream.push_back(0x400000);
    stream.push_back(1 | operation_count << 32);
    stream.push_back(SGXLENS_EXIT(operation_count, 0, 1));
    for (std::uint64_t i = 0; i < operation_count; i++) {
        stream.push_back(SGXLENS_OPERATION(SGXLENS_OP_LOAD, SGXLENS_BASE_NONE, 8ULL));
        stream.push_back(0x600000 + 60 + 64 * i);
    }
}

bool is_taken(const Words &stream, sgxlens::Analysis &analysis) {
    try {
        analysis.feed(stream.data(), stream.size());
    } catch (const sgxlens::StreamError &) {
        return false;
    }
    return true;
}

} // namespace

int test_superblock_limits() {
    constexpr std::uint64_t kLongest = (SGXLENS_RECORD_WORDS_MAX - 1 - 3) / 2;
    std::uint64_t expected = 0;
    Words stream;
    define(stream, 0, kLongest);
    define(stream, 1, 1);
    sgxlens::Analysis analysis;
    // Each time the buffer holds a few accesses more when the longest superblock runs.
    for (std::uint64_t before = 0; before < 2100; before++) {
        stream.insert(stream.end(), before % 7, SGXLENS_HEAD(SGXLENS_RUN, 0, 1));
        stream.push_back(SGXLENS_HEAD(SGXLENS_RUN, 0, 0));
        expected += 2 * (before % 7 + kLongest);
    }
    const bool taken = is_taken(stream, analysis);
    analysis.finish();
    if (!taken || analysis.progress().line_access_count != expected) {
        std::puts("the longest superblock was not taken as it is");
        return EXIT_FAILURE;
    }
    for (const std::uint64_t operation_count : {kLongest + 1, std::uint64_t{65000}}) {
        Words longer;
        define(longer, 0, operation_count);
        longer.push_back(SGXLENS_HEAD(SGXLENS_RUN, 0, 0));
        sgxlens::Analysis refusing;
        if (is_taken(longer, refusing)) {
            std::puts("a superblock that is too long was taken");
            return EXIT_FAILURE;
        }
    }
    return EXIT_SUCCESS;
}
