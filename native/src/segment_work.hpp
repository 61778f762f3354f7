// SPDX-License-Identifier: Apache-2.0
//
// What Segments has done to the stacks, as work for their queues.
#pragma once

#include "segment_pattern.hpp"
#include "sgxlens/stack_queue.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace sgxlens::detail {

struct Row;
struct Segment;

/// Segments that follow each other, each with its number and its bases' lines in `words`.
struct RowContent {
    const Segment *const *segments;
    std::size_t segment_count;
    const std::uint64_t *words;
    std::size_t word_count;
    const std::uint64_t *base_lines; ///< of the row
};

/// Lets the segments of a row run in a local stack.
void take_row(LocalStack &local, const Pattern &pattern, const RowContent &content, bool by_block);

/// Gives the touches of a segment that takes no part in a row.
void add_effect(StackQueue &queue, Effect &effect, const std::uint64_t *bases,
                std::size_t base_count, std::uint64_t position);
/// Has inner reuses counted.
void add_count(StackQueue &queue, Effect &effect);

/// What rows need that are taken elsewhere.
struct RowTaker {
    LocalStack local; ///< scratch
    /// Rows grow when they are taken first.
    std::atomic<std::size_t> &known_bytes;
};

/// Gives the touches of a row. When it is taken, its inner reuses may have to be made anew: what
/// that needs goes with it.
void add_row(StackQueue &queue, RowTaker &taker, Row &row, bool is_new, const RowContent &content,
             std::uint64_t position);

} // namespace sgxlens::detail
