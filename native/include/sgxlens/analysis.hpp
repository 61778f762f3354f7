// SPDX-License-Identifier: Apache-2.0
//
// The analysis of one process: takes its stream chunk by chunk, while it runs
// or later from a file, and keeps what a recording holds of it.
#pragma once

#include "sgxlens/address_space.hpp"
#include "sgxlens/attributor.hpp"
#include "sgxlens/line_use.hpp"
#include "sgxlens/reuse_stack.hpp"
#include "sgxlens/segments.hpp"
#include "sgxlens/stack_queue.hpp"
#include "sgxlens/superblocks.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace sgxlens {

/// One bin of one class that is not empty. `bin` is kColdBin for cold accesses.
struct ReuseBin {
    static constexpr std::uint16_t kColdBin = sgxlens::kColdBin;
    std::uint64_t count;
    std::uint16_t bin;
    std::uint8_t access_class;
};

/// What PhaseCounts holds, without its empty bins: a recording may have many phases.
struct ReuseCounts {
    ReuseCounts() = default;
    explicit ReuseCounts(const PhaseCounts &counts);

    std::vector<ReuseBin> bins;
    std::array<std::uint64_t, kAccessClassCount> access_counts{};  ///< sampled or not
    std::array<std::uint64_t, kAccessClassCount> sampled_counts{}; ///< = sum of the bins
    Footprint footprint;
    std::uint64_t first_touch_count = 0;
};

struct Phase {
    std::string name;
    std::uint64_t start_position = 0; ///< line accesses made before it
    std::uint64_t end_position = 0;
    std::uint64_t start_ns = 0; ///< CLOCK_MONOTONIC of the host
    std::uint64_t end_ns = 0;
    std::uint64_t instruction_count = 0;
    ReuseCounts lines;
    ReuseCounts pages;
    /// Trap kind (SGXLENS_OP_CPUID ...), then leaf | subleaf << 32, to how often.
    std::map<std::pair<std::uint8_t, std::uint64_t>, std::uint64_t> traps;
};

struct SystemCall {
    std::uint64_t position;
    std::array<std::uint64_t, 6> arguments;
    std::int64_t result;
    std::uint64_t kernel_read_bytes;
    std::uint64_t kernel_write_bytes;
    std::uint32_t phase;
    std::uint32_t thread;
    std::uint32_t number;
    std::uint32_t caller; ///< name number of the object file that made it
    std::uint32_t path;   ///< name number of the first path passed
    bool returned;
    bool has_path;
};

struct ClockRead {
    std::uint64_t position;
    std::int64_t seconds;
    std::int64_t nanoseconds;
    std::uint32_t thread;
    std::uint32_t clock;
};

enum class MappingEvent : std::uint8_t { map, unmap, protect, remap, break_grow, break_shrink };

struct MappingChange {
    std::uint64_t position;
    std::uint64_t address;
    std::uint64_t size_bytes;
    std::uint64_t file_offset;
    std::uint64_t from_address; ///< remap only
    std::uint32_t name;
    std::uint32_t flags; ///< SGXLENS_PROT_* | SGXLENS_MAP_*
    MappingEvent event;
};

struct ThreadLife {
    std::uint64_t start_position;
    std::uint64_t end_position;
    std::uint64_t stack_pointer;
    std::uint32_t thread;
    std::uint32_t creator; ///< 0: none, the first
    std::uint32_t kernel_tid;
    bool ended;
};

struct SignalDelivery {
    std::uint64_t position;
    std::uint32_t thread;
    std::uint32_t number;
};

/// What the program said of itself.
struct Annotation {
    std::uint64_t position;
    std::uint64_t address;
    std::uint64_t size_bytes;
    std::uint32_t thread;
    std::uint32_t kind; ///< SGXLENS_OPERATOR_BEGIN ...
    std::uint32_t text; ///< name number
};

/// What a progress display needs; written by the thread that feeds, read by any.
struct Progress {
    std::atomic<std::uint64_t> line_access_count{0};
};

struct AnalysisOptions {
    double sampling_rate = 1.0;
    /// Whether runs that recur are taken by segments, which is faster; the results are the same.
    /// Without effect where accesses are sampled.
    SegmentUse segments = SegmentUse::where_it_pays;
    /// Whether accesses are attributed to contexts and regions, too. Without effect where accesses
    /// are sampled.
    bool attribute = true;
    /// Whether a clock read starts a span: where operators can be told by the clocks they read.
    bool split_at_clock_reads = false;
    /// Of one line in so many the bytes accessed are followed: a power of two up to 64, or 0 for
    /// none. Where accesses are attributed.
    unsigned line_use_interval = LineSample::kIntervalMax;
    /// Whether each stack has a thread of its own. The results are the same.
    bool has_threads = std::thread::hardware_concurrency() > 1;
};

class Analysis {
  public:
    explicit Analysis(const AnalysisOptions &options = {});

    /// Takes whole records. Raises StreamError at the first malformed one; the
    /// analysis then holds what came before it.
    void feed(const std::uint64_t *words, std::size_t count);
    /// Ends the last phase. feed() then refuses everything. Gives back the memory that only
    /// accesses need.
    void finish();

    /// CLOCK_MONOTONIC of the first record.
    std::uint64_t start_ns() const { return phases_.front().start_ns; }
    const std::vector<Phase> &phases() const { return phases_; }
    const std::vector<SystemCall> &system_calls() const { return system_calls_; }
    const std::vector<ClockRead> &clock_reads() const { return clock_reads_; }
    const std::vector<MappingChange> &mapping_changes() const { return mapping_changes_; }
    const std::vector<ThreadLife> &threads() const { return threads_; }
    const std::vector<SignalDelivery> &signals() const { return signals_; }
    const std::vector<Annotation> &annotations() const { return annotations_; }
    const Names &names() const { return names_; }
    const ReuseStack &lines() const { return lines_; }
    const ReuseStack &pages() const { return pages_; }
    /// Null where accesses are not attributed.
    const Attributor *attributor() const { return attributor_.get(); }
    /// Null where no bytes of lines are followed.
    const LineUses *line_uses() const { return line_uses_.get(); }
    const Progress &progress() const { return progress_; }
    /// The name of the phase that runs. Callable from any thread.
    std::string current_phase() const;

    std::int32_t pid() const { return pid_; }
    std::int32_t parent_pid() const { return parent_pid_; }
    const std::string &program() const { return program_; }
    bool was_forked() const { return was_forked_; }
    bool ended() const { return ended_; }
    std::int32_t exit_status() const { return exit_status_; }
    std::uint64_t dropped_system_calls() const { return dropped_system_calls_; }
    std::uint64_t dropped_marks() const { return dropped_marks_; }
    std::uint64_t dropped_annotations() const { return dropped_annotations_; }
    /// How many of the line accesses were taken by segments that were known.
    std::uint64_t segment_access_count() const { return segment_access_count_; }
    /// Once it is finished, those that were held up to then. Not while stacks have work queued.
    std::size_t memory_bytes() const;
    /// Of these, what is remembered of segments: it does not grow with the memory accessed.
    std::size_t segment_memory_bytes() const;

  private:
    static constexpr std::size_t kBatchEntries = 4096;

    void run(const SuperblockExit &exit, const std::uint64_t *record);
    void run_general(const SuperblockExit &exit, const std::uint64_t *record);
    void access(std::uint64_t address, std::uint64_t size_bytes, std::uint8_t access_class);
    const std::uint64_t *step(const std::uint64_t *words, const std::uint64_t *end);
    const std::uint64_t *take_cut(const std::uint64_t *words, const std::uint64_t *end);
    void take_cut_plainly();
    const std::uint64_t *take(const std::uint64_t *words, const std::uint64_t *stop,
                              const std::uint64_t *end);
    void take_bytes();
    void flush();
    /// Queues all that waits: due before a context ends.
    void settle();
    /// Waits until the stacks have taken all that is queued.
    void drain();
    void event(std::uint32_t kind, std::uint32_t value, const std::uint64_t *payload,
               std::size_t words);
    void system_call_enters(std::uint32_t number, const std::uint64_t *payload);
    void system_call_exits(std::uint32_t number, std::uint64_t result);
    void kernel_access(std::uint64_t address, std::uint64_t size_bytes, AccessClass access_class);
    void annotate(std::uint32_t kind, const std::uint64_t *payload, std::size_t words);
    template <typename Change> void change_regions(Change change);
    void begin_phase(std::string name);
    void end_phase();
    void note_mapping(MappingEvent event, std::uint32_t flags, std::uint64_t address,
                      std::uint64_t size_bytes, std::uint32_t name = 0,
                      std::uint64_t file_offset = 0, std::uint64_t from_address = 0);
    std::uint64_t position() const { return position_ + batch_size_; }

    /// Writes the entries of a run; see native/src/expand.hpp.
    std::uint64_t *(*expand_)(const Operation *, std::size_t, const std::uint64_t *, std::size_t,
                              std::uint64_t *);
    /// Finds the entries of lines that are followed, in the same place.
    std::size_t (*follow_)(const LineSample &, std::uint64_t *, std::size_t, std::uint64_t *);
    Superblocks superblocks_;
    ReuseStack lines_;
    ReuseStack pages_;
    std::unique_ptr<LineUses> line_uses_;    ///< null: no bytes are followed
    std::unique_ptr<Segments> segments_;     ///< null: not in use
    std::unique_ptr<Attributor> attributor_; ///< null: accesses are not attributed
    // After all that they work with, so that their threads end first.
    StackQueue line_queue_;
    StackQueue page_queue_;
    bool split_at_clock_reads_;
    std::vector<std::uint64_t> cut_;      ///< words of a segment that ends in the next words
    std::vector<std::uint64_t> batch_;    ///< entries with their bytes; see native/src/expand.hpp
    std::vector<std::uint64_t> followed_; ///< scratch
    std::size_t batch_size_ = 0;
    std::uint64_t position_ = 0; ///< of the first entry of the batch
    std::uint64_t segment_access_count_ = 0;
    std::uint64_t instruction_count_ = 0;

    std::vector<Phase> phases_;
    std::vector<SystemCall> system_calls_;
    std::vector<ClockRead> clock_reads_;
    std::vector<MappingChange> mapping_changes_;
    std::vector<ThreadLife> threads_;
    std::vector<SignalDelivery> signals_;
    std::vector<Annotation> annotations_;
    Names names_;
    AddressSpace address_space_;
    std::map<std::uint32_t, std::size_t> open_calls_;   ///< thread to its call in system_calls_
    std::map<std::uint32_t, std::size_t> live_threads_; ///< thread to its life in threads_
    Progress progress_;
    mutable std::mutex current_phase_mutex_;
    std::string current_phase_;

    std::uint32_t thread_ = 0;
    std::uint64_t now_ns_ = 0;
    std::int32_t pid_ = 0;
    std::int32_t parent_pid_ = 0;
    std::int32_t exit_status_ = 0;
    std::uint64_t dropped_system_calls_ = 0; ///< beyond those kept one by one
    std::uint64_t dropped_marks_ = 0;
    std::uint64_t dropped_annotations_ = 0;
    std::string program_;
    bool was_forked_ = false;
    bool ended_ = false;
    bool finished_ = false;
    std::size_t final_bytes_ = 0; ///< see memory_bytes()
    std::size_t final_segment_bytes_ = 0;
};

} // namespace sgxlens
