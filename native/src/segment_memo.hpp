// SPDX-License-Identifier: Apache-2.0
//
// What Segments remembers.
#pragma once

#include "segment_bytes.hpp"
#include "segment_pattern.hpp"
#include "segment_work.hpp"
#include "sgxlens/reuse_stack.hpp"
#include "sgxlens/segments.hpp"
#include "sgxlens/stack_queue.hpp"
#include "sgxlens/superblocks.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

namespace sgxlens {
namespace detail {

inline constexpr unsigned kLineBits = 6;

// Patterns kept of one sequence of exits, and arrangements of one segment in pages.
inline constexpr std::size_t kPatternsMax = 32;
inline constexpr std::size_t kPagingsMax = 32;

// Entries of the tables of sequences, as powers of two.
inline constexpr unsigned kSequenceBits = 15;
inline constexpr unsigned kRowSequenceBits = 16;
/// Rows whose contents are known to have been seen, though the rows are not known: a power of two.
inline constexpr std::size_t kRowsSeen = std::size_t{1} << 16;

inline std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    return hash ^ (hash >> 32);
}

/// Of each base, the kind of its place in its page; a byte each.
using PlaceKinds = std::array<std::uint64_t, kBasesMax / 8>;

/// How a segment's lines lie in pages, and what it does to the stack of pages then.
struct Paging {
    PlaceKinds kinds;
    Effect pages;
};

struct Segment {
    Pattern pattern;
    Effect lines;
    BytePattern bytes; ///< empty where none are followed
    std::uint64_t number = 0;
    std::uint64_t sequence = 0; ///< hash of its exits
    std::uint32_t access_count = 0;
    std::uint32_t instruction_count = 0;
    bool is_listed = false; ///< among those whose inner reuses are to be counted
    /// Of each base, by place in its page: places of one kind part its lines into pages alike.
    std::vector<std::array<std::uint8_t, 64>> place_kinds;
    std::deque<Paging> pagings; ///< they stay where they are
    std::size_t last_paging = 0;
    std::size_t next_dropped = 0;
    std::array<Segment *, 2> successors{}; ///< what ran after it, the latest first

    std::size_t memory_bytes() const {
        return sizeof *this + pattern.memory_bytes() + lines.memory_bytes() + bytes.memory_bytes() +
               place_kinds.size() * sizeof place_kinds[0];
    }
};

struct Row {
    Pattern pattern;
    Effect lines;
    BytePattern bytes;      ///< as of a segment
    bool is_listed = false; ///< as of a segment

    std::size_t memory_bytes() const {
        return sizeof *this + pattern.memory_bytes() + lines.memory_bytes() + bytes.memory_bytes();
    }
};

/// What is known of a sequence of exits, or of segments: its patterns, and whether to add one.
/// Making one takes as long as taking the accesses several times, so it must be likely to pay.
template <typename Known> struct Sequence {
    static constexpr std::uint32_t kFirstPrice = 3;

    std::uint64_t hash = 0;
    std::uint32_t price = kFirstPrice; ///< times to be seen before the next one is made
    std::uint32_t unpaid = 0;          ///< made, and as yet without use
    std::vector<std::unique_ptr<Known>> known;

    void hit(std::size_t index) {
        unpaid = 0;
        price -= std::min(price, std::uint32_t{1});
        if (index > 0)
            std::swap(known[index], known[index - 1]);
    }
    /// Returns whether a new one should be made.
    bool miss() {
        price -= std::min(price, std::uint32_t{1});
        return price == 0;
    }
    bool is_full() const { return known.size() == kPatternsMax; }
    void made() {
        ++unpaid;
        price = std::uint32_t{2} << std::min<std::uint32_t>(unpaid, 10);
    }
};

template <typename Known> class Sequences {
  public:
    explicit Sequences(unsigned bits) : table_(std::size_t{1} << bits), shift_(64 - bits) {}

    /// The entry of that hash; null where its places are taken by others that are of use.
    Sequence<Known> *at(std::uint64_t hash) {
        Sequence<Known> *const group = &table_[hash >> shift_ & ~(kPlaces - 1)];
        Sequence<Known> *free = nullptr;
        for (std::size_t i = 0; i < kPlaces; ++i) {
            if (group[i].hash == hash)
                return group + i;
            // The one least likely to be of use soon.
            if (group[i].known.empty() && (free == nullptr || group[i].price > free->price))
                free = group + i;
        }
        if (free == nullptr) {
            ++refusals_;
            return nullptr;
        }
        *free = Sequence<Known>();
        free->hash = hash;
        return free;
    }
    std::size_t refusals() const { return refusals_; }
    void refuse() { ++refusals_; }
    void clear() {
        for (Sequence<Known> &sequence : table_)
            sequence = Sequence<Known>();
        refusals_ = 0;
    }
    std::size_t memory_bytes() const { return table_.size() * sizeof(table_[0]); }

  private:
    static constexpr std::size_t kPlaces = 4;
    std::vector<Sequence<Known>> table_;
    unsigned shift_;
    std::size_t refusals_ = 0;
};

} // namespace detail

struct Segments::Memo {
    using Effect = detail::Effect;
    using Row = detail::Row;
    using Segment = detail::Segment;

    Memo(const Superblocks &s, StackQueue &l, StackQueue &p, LineUses *u)
        : superblocks(s), lines(l), pages(p), line_uses(u) {}

    const Superblocks &superblocks;
    StackQueue &lines;
    StackQueue &pages;
    LineUses *const line_uses; ///< null: no bytes are followed
    bool at_any_cost = false;

    detail::Sequences<Segment> sequences{detail::kSequenceBits};
    detail::Sequences<Row> row_sequences{detail::kRowSequenceBits};
    std::atomic<std::size_t> known_bytes = 0; ///< rows grow when they are taken
    std::uint64_t segment_count = 0;
    std::vector<Segment *> counted; ///< whose inner reuses are to be counted
    std::vector<Row *> counted_rows;

    // Whether it pays: see kTrialWords.
    std::size_t trial_words = 0; ///< seen in this trial
    std::size_t spent_words = 0;
    std::size_t saved_words = 0;
    std::size_t rest_words = 0; ///< left to be taken plainly
    std::size_t next_rest_words = 0;

    // The segment found.
    Segment *found = nullptr;
    Segment *previous = nullptr; ///< the one before it, if it was known
    const std::uint64_t *found_words = nullptr;
    std::array<std::uint64_t, detail::kBasesMax> base_lines{};

    // Segments whose lines wait, each as its number and its bases' lines.
    std::vector<std::uint64_t> row_words;
    std::vector<Segment *> row;
    std::uint64_t position = 0; ///< of the latest segment
    std::array<std::uint64_t, detail::kBasesMax> row_base_lines{};
    std::uint64_t row_hash = 0;
    std::uint64_t row_accesses = 0;
    /// Hashes of rows that were not known when they came.
    std::vector<std::uint64_t> rows_seen = std::vector<std::uint64_t>(detail::kRowsSeen);

    detail::LocalStack local; ///< scratch
    detail::ByteCollector collector;
    detail::RowTaker row_taker{{}, known_bytes};

    bool try_segment(Segment &segment, const std::uint64_t *words, const std::uint64_t *end);
    Segment *make_segment(const std::uint64_t *words, std::size_t word_count);
    Effect pages_of(const Segment &segment, const std::uint64_t *words);
    void apply_pages(Segment &segment);
    detail::RowContent row_content() const;
    bool is_row_seen_before();
    void end_row();
    Row *make_row();
    detail::BytePattern row_bytes(const detail::Pattern &pattern);
    void count_reuses();
    void end_trial();
    void drop_all();
};

} // namespace sgxlens
