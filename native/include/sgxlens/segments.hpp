// SPDX-License-Identifier: Apache-2.0
//
// The fast path of the analysis. Loops run the same superblocks again and again, on addresses that
// advance. The stream of runs is cut into segments at places that depend on the exits only, so
// that the same code is cut alike each time. A segment whose values keep the distances that they
// had in an earlier one, up to the bases of separate pieces of memory, reuses its blocks in the
// same way: its accesses are counted without being looked at one by one. Only the first access of
// the segment to each block depends on the past; these are given to the reuse stack.
//
// This is done again and again. A segment is short. Its first accesses to blocks wait until there
// is a row of segments, which is matched in the same way: as a sequence of segments and their
// bases. So blocks that several segments of the row touch are looked up once. For lines, which are
// many more than pages, there are rows of rows, too. A row is looked for as a whole where it came
// after the one before it: its segments need not be found first.
//
// Results are exact: what is matched is compared word by word, and bases must lie apart.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace sgxlens {

class LineUses;
class StackQueue;
class Superblocks;

/// Results do not depend on it. `always` makes everything known at first sight, at any cost: for
/// tests.
enum class SegmentUse : std::uint8_t { never, where_it_pays, always };

class Segments {
  public:
    /// `line_uses`: who is told of the bytes accessed; null: nobody.
    Segments(const Superblocks &superblocks, StackQueue &lines, StackQueue &pages,
             LineUses *line_uses, SegmentUse use = SegmentUse::where_it_pays);
    ~Segments();

    struct Found {
        /// Of the segments if they are known, and may be applied. Else the records that start
        /// within so many words, perhaps none, are to be taken one by one.
        std::size_t word_count;
        bool is_known;
        std::uint32_t access_count; ///< of lines
        std::uint32_t instruction_count;
        bool is_cut = false; ///< the words end within a segment, as far as can be told
    };
    /// Accesses to lines that the words of a segment make which is cut, at most.
    static constexpr std::uint64_t kCutAccessesMax = 512;

    /// Looks at the segment that starts here, and perhaps at those after it.
    Found find(const std::uint64_t *words, const std::uint64_t *end);
    /// Takes the segments that were just found and are known. `position`: line accesses made before
    /// them. Their accesses to lines may wait.
    void apply(std::uint64_t position);
    /// Gives the accesses that wait to the queue: due before any other access is.
    void settle();
    /// Due before the context of the stacks ends, and before the phase does. Queues what is needed.
    void end_context();

    std::size_t memory_bytes() const;

  private:
    struct Memo;
    std::unique_ptr<Memo> memo_;
};

} // namespace sgxlens
