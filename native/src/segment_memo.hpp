// SPDX-License-Identifier: Apache-2.0
//
// What Segments remembers.
#pragma once

#include "segment_bytes.hpp"
#include "segment_effect.hpp"
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
#include <memory>
#include <unordered_map>
#include <vector>

namespace sgxlens {
namespace detail {

inline constexpr unsigned kLineBits = 6;

// Patterns kept of one sequence of exits, and arrangements of one stretch in pages.
inline constexpr std::size_t kPatternsMax = 32;
inline constexpr std::uint32_t kPagingsMax = 1024;

// Entries of the tables of sequences, as powers of two.
inline constexpr unsigned kSequenceBits = 16;
inline constexpr unsigned kRowSequenceBits = 17;
inline constexpr unsigned kOuterRowSequenceBits = 16;

/// Pages that a row touches where it is taken as a whole, for pages.
inline constexpr std::size_t kRowPagesMax = 256;

inline std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    return hash ^ (hash >> 32);
}

inline bool is_cut(std::uint64_t value, std::uint64_t ratio) {
    return (mix(0x2545f4914f6cdd1du, value) >> 20) % ratio == 0;
}

/// Of each base, the kind of its place in its page; a byte each.
using PlaceKinds = std::array<std::uint64_t, kBasesMax / 8>;

/// How the lines of a stretch lie in pages, and what it does to the stack of pages then.
struct Paging {
    std::uint64_t stretch; ///< its number
    PlaceKinds kinds;
    Effect pages{};
    bool is_listed = false; ///< as of a stretch
};

/// A stretch of the stream that is known.
struct Stretch {
    Pattern pattern;
    Effect lines;      ///< of a row: made when it is taken first
    BytePattern bytes; ///< empty where none are followed
    std::uint64_t number = 0;
    std::uint64_t sequence = 0; ///< hash of its exits, or of the numbers of its parts
    std::uint32_t access_count = 0;
    bool is_listed = false; ///< among those whose inner reuses are to be counted
    /// Of each base: at which places in its page some line of it starts a page. Places between
    /// which there is none part its lines into pages alike.
    std::vector<std::uint64_t> page_starts;
    std::uint32_t paging_count = 0;
    Paging *last_paging = nullptr; ///< where its bases lay last

    PlaceKinds place_kinds(const std::uint64_t *base_lines) const;
    std::size_t memory_bytes() const {
        return pattern.memory_bytes() + lines.memory_bytes() + bytes.memory_bytes() +
               page_starts.capacity() * sizeof page_starts[0];
    }
};

/// What came after something, the latest first.
template <typename Known> struct Successors {
    std::array<Known *, 2> latest{};

    void add(Known &next) {
        if (latest[0] != &next)
            latest = {&next, latest[0]};
    }
};

struct Segment : Stretch {
    std::uint32_t instruction_count = 0;
    Successors<Segment> successors;

    std::size_t memory_bytes() const { return sizeof *this + Stretch::memory_bytes(); }
};

/// Segments, or rows of segments, that follow each other. The words of its pattern are the number
/// of each part and the lines of its bases but the first.
struct Row : Stretch {
    std::vector<Stretch *> parts;
    bool is_of_rows = false;
    bool is_complete = false;   ///< its last part ends it, nothing else did
    bool has_few_pages = false; ///< it touches; at most kRowPagesMax

    // Of a row of segments, what it takes to tell from the words of the stream that it comes.
    std::uint32_t stream_word_count = 0;
    std::uint32_t instruction_count = 0;
    std::vector<Pattern::Leader> stream_leaders; ///< of its bases but the first, in those words
    /// Of each base: at which places in its page the bases of the segments touch pages of their own
    /// as far as they became one base of the row.
    std::vector<std::uint64_t> apart_places;
    Successors<Row> successors;

    /// Whether the bases of each segment lie apart where those of the row, which do, are at these
    /// lines.
    bool parts_are_apart(const std::uint64_t *base_lines) const {
        std::uint64_t apart = 1;
        for (std::size_t base = 0; base < apart_places.size(); ++base)
            apart &= apart_places[base] >> base_lines[base] % 64;
        return apart == 1;
    }

    std::size_t memory_bytes() const {
        return sizeof *this + Stretch::memory_bytes() + parts.capacity() * sizeof parts[0] +
               stream_leaders.capacity() * sizeof stream_leaders[0] +
               apart_places.capacity() * sizeof apart_places[0];
    }
};

/// The lines of the bases of the parts of a row, one part after the other.
class PartLines {
  public:
    explicit PartLines(const std::uint64_t *words) : next_(words) {
        lines_[0] = 0; // the absolute one
    }
    void move_to(const Stretch &part) {
        const std::size_t bases = part.pattern.base_count();
        std::copy_n(next_ + 1, bases - 1, lines_.begin() + 1);
        next_ += bases;
    }
    const std::uint64_t *data() const { return lines_.data(); }

  private:
    const std::uint64_t *next_; ///< words of the next part
    std::array<std::uint64_t, kBasesMax> lines_;
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
        if (free == nullptr)
            return nullptr;
        *free = Sequence<Known>();
        free->hash = hash;
        return free;
    }
    template <typename Take> void each(Take take) const {
        for (const Sequence<Known> &sequence : table_)
            for (const auto &known : sequence.known)
                take(*known);
    }
    /// Tells how much came, in words of the stream or in accesses, and whether there was no place
    /// for it.
    void came(std::uint64_t amount, bool is_refused) {
        came_ += amount;
        refused_ += is_refused ? amount : 0;
        if (came_ >= kWindow) {
            came_ /= 2;
            refused_ /= 2;
        }
    }
    /// Whether of what came lately so much found no place that what is known is of little use.
    bool is_crowded() const { return came_ >= kWindow / 2 && refused_ > came_ / 3; }
    void clear() {
        for (Sequence<Known> &sequence : table_)
            sequence = Sequence<Known>();
        came_ = 0;
        refused_ = 0;
    }
    std::size_t memory_bytes() const { return table_.size() * sizeof(table_[0]); }

  private:
    static constexpr std::size_t kPlaces = 8;
    /// A part of an inference, but more than what a program does between two of them: this may
    /// find no place, and all that is known of inferences should not be dropped for it.
    static constexpr std::uint64_t kWindow = std::uint64_t{1} << 26;
    std::vector<Sequence<Known>> table_;
    unsigned shift_;
    std::uint64_t came_ = 0; ///< lately
    std::uint64_t refused_ = 0;
};

/// The pagings of stretches of one kind.
class Pagings {
  public:
    /// One that is known or may become so.
    struct Place {
        PlaceKinds kinds;
        std::uint64_t hash;
        Paging *known; ///< null: not known
        bool is_free;  ///< it may be added
    };
    Place at(Stretch &stretch, const std::uint64_t *base_lines);
    /// It stays where it is. Its effect is yet to be made.
    Paging &add(Stretch &stretch, const Place &place);
    void clear() { by_hash_.clear(); }
    template <typename Take> void each(Take take) const {
        for (const auto &[hash, paging] : by_hash_)
            take(paging);
    }

  private:
    std::unordered_map<std::uint64_t, Paging> by_hash_; ///< of their stretch and kinds
};

/// What came and was not known, by hashes: the latest.
class Seen {
  public:
    /// Whether it was there. Then it is likely to come again, and worth to be made known.
    bool add(std::uint64_t hash);
    std::size_t memory_bytes() const { return hashes_.size() * sizeof hashes_[0]; }

  private:
    static constexpr std::size_t kCount = std::size_t{1} << 18;
    /// That share their places: with fewer, many would put each other out each time they come.
    static constexpr std::size_t kPlaces = 8;
    std::vector<std::uint64_t> hashes_ = std::vector<std::uint64_t>(kCount);
};

/// Rows of one level, and what waits to become the next one.
struct Rows {
    Rows(unsigned sequence_bits, bool of_rows) : known(sequence_bits), is_of_rows(of_rows) {}

    Sequences<Row> known;
    Pagings pagings;
    const bool is_of_rows;
    std::vector<Stretch *> parts;
    std::vector<std::uint64_t> words;
    std::array<std::uint64_t, kBasesMax> base_lines{};
    std::uint64_t hash = 0; ///< of the numbers of the parts
    std::uint64_t access_count = 0;
    std::uint64_t position = 0; ///< of the first part

    void add(Stretch &part, const std::uint64_t *part_base_lines, std::uint64_t part_position);
    void clear();
    /// Whether the row ends with the last part.
    bool is_complete() const;
};

} // namespace detail

struct Segments::Memo {
    using Effect = detail::Effect;
    using Row = detail::Row;
    using Segment = detail::Segment;

    Memo(const Superblocks &s, StackQueue &l, StackQueue &p, LineUses *u)
        : superblocks(s), lines(l), pages(p), line_uses(u), found_words(detail::kBasesMax) {}

    const Superblocks &superblocks;
    StackQueue &lines;
    StackQueue &pages;
    LineUses *const line_uses; ///< null: no bytes are followed
    bool at_any_cost = false;
    std::size_t memory_max = 0; ///< for what is known

    detail::Sequences<Segment> sequences{detail::kSequenceBits};
    std::atomic<std::size_t> known_bytes = 0; ///< rows grow when they are taken
    std::uint64_t stretch_count = 0;
    std::vector<Segment *> counted; ///< whose inner reuses are to be counted
    std::vector<Row *> counted_rows;

    // Whether it pays: see kTrialWords.
    std::size_t trial_words = 0; ///< seen in this trial
    std::size_t spent_words = 0;
    std::size_t saved_words = 0;
    std::size_t rest_words = 0; ///< left to be taken plainly
    std::size_t next_rest_words = 0;

    // The row found, and the lines of its bases; or the segments found, and those of theirs.
    Row *found_row = nullptr;
    std::array<std::uint64_t, detail::kBasesMax> found_row_lines{};
    std::vector<Segment *> found;
    std::vector<std::uint64_t> found_words; ///< as of a row of them
    Segment *previous = nullptr;            ///< the one before it, if it was known
    Row *previous_row = nullptr;            ///< the last row that was, if it was known

    detail::Pagings segment_pagings;
    std::vector<detail::Paging *> counted_pagings;

    detail::Rows rows{detail::kRowSequenceBits, false};
    detail::Rows outer_rows{detail::kOuterRowSequenceBits, true};
    bool has_outer_rows = true; ///< else there is no room for them
    detail::Seen seen;          ///< rows, and pagings of rows

    detail::LocalStack local; ///< scratch
    detail::ByteCollector collector;
    detail::RowTaker row_taker{known_bytes};
    detail::PageTaker page_taker{known_bytes};

    bool try_segment(Segment &segment, const std::uint64_t *words, const std::uint64_t *end);
    bool find_row(const std::uint64_t *words, const std::uint64_t *end);
    bool take_parts(const Row &row, std::size_t count, const std::uint64_t *base_lines);
    Found known();
    Segment *make_segment(const std::uint64_t *words, std::size_t word_count);
    Row *known_row(detail::Rows &level);
    Row *make_row(detail::Rows &level);
    detail::BytePattern row_bytes(const Row &row, const std::uint64_t *words,
                                  const std::uint64_t *base_lines);
    void end_row();
    void follow_row(Row *row);
    void add_to_outer_row(Row &row, const std::uint64_t *base_lines, std::uint64_t position);
    void end_outer_row();
    void apply_segments(const std::vector<detail::Stretch *> &segments, const std::uint64_t *words,
                        std::uint64_t position, bool for_lines);
    bool apply_pages(Row &row, const std::uint64_t *base_lines, std::uint64_t position);
    detail::Paging *segment_paging(Segment &segment, const std::uint64_t *base_lines);
    Effect pages_of(const Segment &segment, const std::uint64_t *base_lines);
    std::vector<std::uint64_t> page_entries(const Segment &segment,
                                            const std::uint64_t *base_lines);
    void count_reuses();
    void settle();
    void end_trial();
    void drain();
    void drop_outer_rows();
    void drop_all();
};

} // namespace sgxlens
