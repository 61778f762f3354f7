// SPDX-License-Identifier: Apache-2.0
//
// What Segments has done to the stacks, as work for their queues. What rows do to a stack is found
// out where it is done: the thread of the stack makes their effects, and is the only one to look
// at them.
#pragma once

#include "segment_effect.hpp"
#include "sgxlens/stack_queue.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace sgxlens::detail {

struct Paging;
struct Row;

/// Gives the touches of a segment that takes no part in a row.
void add_effect(StackQueue &queue, Effect &effect, const std::uint64_t *bases,
                std::size_t base_count, std::uint64_t position);
/// Gives the touches of pages, where the bases lie at these lines.
void add_pages(StackQueue &queue, Effect &effect, const std::uint64_t *base_lines,
               std::size_t base_count, std::uint64_t position);
/// Has inner reuses counted.
void add_count(StackQueue &queue, Effect &effect);

/// Takes rows, for the stack of lines.
class RowTaker {
  public:
    explicit RowTaker(std::atomic<std::size_t> &known_bytes) : known_bytes_(known_bytes) {}
    void take(ReuseStack &stack, Row &row, const std::uint64_t *base_lines);

  private:
    /// A row that runs in a local stack.
    struct Run {
        LocalStack local;
        std::vector<std::uint64_t> words;
        std::vector<std::uint16_t> slots; ///< of the touches of its parts, one after the other
        std::vector<LocalStack::Access> accesses;
        std::vector<RegionNumber> regions; ///< of the touches of a part
    };
    void run(Row &row, const std::uint64_t *base_lines, bool is_attributed, std::size_t depth);
    void make_effect(Row &row, bool is_attributed, std::size_t depth);
    void make_reuses(ReuseStack &stack, Row &row, const RegionNumber *regions, bool by_block,
                     std::size_t depth);

    std::array<Run, 2> runs_; ///< by depth: that of a row, and that of one of its parts
    std::atomic<std::size_t> &known_bytes_;
};

/// Makes known what rows do to pages, for the stack of pages.
class PageTaker {
  public:
    explicit PageTaker(std::atomic<std::size_t> &known_bytes) : known_bytes_(known_bytes) {}
    /// `parts`: the pagings of the segments of the row.
    void make(Paging &paging, const Row &row, const std::uint64_t *base_lines,
              const std::uint64_t *parts, bool is_attributed);

  private:
    LocalStack local_;
    std::vector<LocalStack::Access> accesses_;
    std::atomic<std::size_t> &known_bytes_;
};

/// Gives the touches of a row.
void add_row(StackQueue &queue, RowTaker &taker, Row &row, const std::uint64_t *base_lines,
             std::uint64_t position);
/// Gives the touches of pages of a row, of which it is not known yet what it does to them.
void add_new_pages(StackQueue &queue, PageTaker &taker, Paging &paging, const Row &row,
                   const std::uint64_t *base_lines, const std::vector<Paging *> &parts,
                   std::uint64_t position);

} // namespace sgxlens::detail
