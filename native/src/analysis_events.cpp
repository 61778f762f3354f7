// SPDX-License-Identifier: Apache-2.0
//
// The records of a stream that are not runs of superblocks.
#include "sgxlens/analysis.hpp"

#include "sgxlens/error.hpp"
#include "sgxlens/stream.h"

#include <cstring>
#include <string>

namespace sgxlens {
namespace {

/// Linux moves at most this much in one system call (MAX_RW_COUNT in include/linux/fs.h).
constexpr std::uint64_t kKernelAccessBytesMax = 0x7ffff000;

/// A record of a system call takes about 120 bytes: beyond this many they are counted only.
constexpr std::size_t kSystemCallsMax = 5'000'000;
/// An annotation takes 40 bytes, besides its text: beyond this many they are counted only.
constexpr std::size_t kAnnotationsMax = 5'000'000;
/// Further marks are counted only: a phase is meant to be an inference, not a loop's turn.
constexpr std::size_t kPhasesMax = 20'000;

void need_words(std::size_t words, std::size_t needed) {
    if (words < needed)
        throw StreamError("a record is too short for its kind");
}

/// The text of `size_bytes` at the end of a record.
std::string text_of(const std::uint64_t *payload, std::size_t words, std::uint64_t size_bytes) {
    if (size_bytes > words * sizeof(std::uint64_t))
        throw StreamError("a record is too short for its text");
    return std::string(reinterpret_cast<const char *>(payload), size_bytes);
}

} // namespace

void Analysis::kernel_access(std::uint64_t address, std::uint64_t size_bytes,
                             AccessClass access_class) {
    if (size_bytes > kKernelAccessBytesMax)
        throw StreamError("the kernel touches more memory than a system call can");
    if (size_bytes == 0)
        return;
    access(address, size_bytes, static_cast<std::uint8_t>(access_class));
    const auto call = open_calls_.find(thread_);
    if (call == open_calls_.end())
        return;
    SystemCall &system_call = system_calls_[call->second];
    (access_class == AccessClass::kernel_read ? system_call.kernel_read_bytes
                                              : system_call.kernel_write_bytes) += size_bytes;
}

void Analysis::system_call_enters(std::uint32_t number, const std::uint64_t *payload) {
    open_calls_.erase(thread_);
    if (system_calls_.size() >= kSystemCallsMax) {
        dropped_system_calls_++;
        return;
    }
    SystemCall call{};
    call.position = position();
    call.phase = static_cast<std::uint32_t>(phases_.size() - 1);
    call.thread = thread_;
    call.number = number;
    // The address after a two-byte instruction: look where the instruction is.
    call.caller = address_space_.name_at(payload[0] - 2);
    std::memcpy(call.arguments.data(), payload + 1, sizeof call.arguments);
    open_calls_[thread_] = system_calls_.size();
    system_calls_.push_back(call);
}

void Analysis::system_call_exits(std::uint32_t number, std::uint64_t result) {
    const auto call = open_calls_.find(thread_);
    if (call == open_calls_.end())
        return;
    SystemCall &system_call = system_calls_[call->second];
    if (system_call.number == number) {
        system_call.result = static_cast<std::int64_t>(result);
        system_call.returned = true;
    }
    open_calls_.erase(call);
}

void Analysis::note_mapping(MappingEvent event, std::uint32_t flags, std::uint64_t address,
                            std::uint64_t size_bytes, std::uint32_t name, std::uint64_t file_offset,
                            std::uint64_t from_address) {
    mapping_changes_.push_back(MappingChange{position(), address, size_bytes, file_offset,
                                             from_address, name, flags, event});
}

void Analysis::annotate(std::uint32_t kind, const std::uint64_t *payload, std::size_t words) {
    need_words(words, 3);
    if (kind < SGXLENS_OPERATOR_BEGIN || kind > SGXLENS_ANNOTATION_LAST)
        throw StreamError("unknown kind of annotation");
    if (payload[2] > SGXLENS_ANNOTATION_TEXT_BYTES_MAX)
        throw StreamError("an annotation is too long");
    const std::string text = text_of(payload + 3, words - 3, payload[2]);
    if (annotations_.size() >= kAnnotationsMax) {
        dropped_annotations_++;
        return;
    }
    annotations_.push_back(
        Annotation{position(), payload[0], payload[1], thread_, kind, names_.number_of(text)});
    if (kind == SGXLENS_OPERATOR_BEGIN || kind == SGXLENS_OPERATOR_END) {
        if (attributor_ != nullptr) {
            settle();
            attributor_->begin_span(position_, false);
        }
    } else if (kind == SGXLENS_REGION) {
        change_regions([&](Regions &regions) {
            return regions.declare(position(), payload[0], payload[1], text);
        });
    } else if (kind == SGXLENS_REGION_END) {
        change_regions([&](Regions &regions) {
            return regions.end_declared(position(), payload[0], payload[1]);
        });
    }
}

/// Where a change may concern blocks that were accessed, their regions are asked for anew.
template <typename Change> void Analysis::change_regions(Change change) {
    if (attributor_ == nullptr)
        return;
    // Who is behind still asks for the regions as they are.
    flush();
    drain();
    if (!change(attributor_->regions()))
        return;
    settle();
    attributor_->regions_changed(position_);
}

void Analysis::event(std::uint32_t kind, std::uint32_t value, const std::uint64_t *payload,
                     std::size_t words) {
    switch (kind) {
    case SGXLENS_DEFINE:
        superblocks_.define(value, payload, words);
        break;
    case SGXLENS_THREAD:
        if (attributor_ != nullptr && value != thread_) {
            settle();
            attributor_->switch_thread(position_, value);
        }
        thread_ = value;
        break;
    case SGXLENS_THREAD_START:
        need_words(words, 3);
        change_regions(
            [&](Regions &regions) { return regions.start_thread(position(), payload[1]); });
        live_threads_[value] = threads_.size();
        threads_.push_back(ThreadLife{position(), 0, payload[1], value,
                                      static_cast<std::uint32_t>(payload[0]),
                                      static_cast<std::uint32_t>(payload[2]), false});
        break;
    case SGXLENS_THREAD_EXIT:
        if (const auto life = live_threads_.find(value); life != live_threads_.end()) {
            threads_[life->second].end_position = position();
            threads_[life->second].ended = true;
            live_threads_.erase(life);
        }
        break;
    case SGXLENS_SYSCALL_ENTER:
        need_words(words, 7);
        system_call_enters(value, payload);
        break;
    case SGXLENS_SYSCALL_EXIT:
        need_words(words, 1);
        system_call_exits(value, payload[0]);
        break;
    case SGXLENS_KERNEL_READ:
        need_words(words, 2);
        kernel_access(payload[0], payload[1], AccessClass::kernel_read);
        break;
    case SGXLENS_KERNEL_WRITE:
        need_words(words, 2);
        kernel_access(payload[0], payload[1], AccessClass::kernel_write);
        break;
    case SGXLENS_PATH:
        if (const auto call = open_calls_.find(thread_); call != open_calls_.end()) {
            SystemCall &system_call = system_calls_[call->second];
            const std::string path = text_of(payload, words, value);
            if (!system_call.has_path) {
                system_call.has_path = true;
                system_call.path = names_.number_of(path);
            }
        }
        break;
    case SGXLENS_CLOCK:
        need_words(words, 2);
        clock_reads_.push_back(ClockRead{position(), static_cast<std::int64_t>(payload[0]),
                                         static_cast<std::int64_t>(payload[1]), thread_, value});
        if (attributor_ != nullptr && split_at_clock_reads_) {
            settle();
            attributor_->begin_span(position_, false);
        }
        break;
    case SGXLENS_MAP: {
        need_words(words, 4);
        const std::string text = text_of(payload + 4, words - 4, payload[3]);
        const std::uint32_t name = names_.number_of(text);
        address_space_.map(payload[0], payload[1], name);
        change_regions([&](Regions &regions) {
            return regions.map(position(), payload[0], payload[1], value, text);
        });
        note_mapping(MappingEvent::map, value, payload[0], payload[1], name, payload[2]);
        break;
    }
    case SGXLENS_UNMAP:
        need_words(words, 2);
        address_space_.unmap(payload[0], payload[1]);
        change_regions(
            [&](Regions &regions) { return regions.unmap(position(), payload[0], payload[1]); });
        note_mapping(MappingEvent::unmap, value, payload[0], payload[1]);
        break;
    case SGXLENS_PROTECT:
        need_words(words, 2);
        change_regions([&](Regions &regions) {
            return regions.protect(position(), payload[0], payload[1], value);
        });
        note_mapping(MappingEvent::protect, value, payload[0], payload[1]);
        break;
    case SGXLENS_REMAP:
        need_words(words, 3);
        change_regions([&](Regions &regions) {
            return regions.remap(position(), payload[0], payload[1], payload[2]);
        });
        note_mapping(MappingEvent::remap, value, payload[1], payload[2], 0, 0, payload[0]);
        break;
    case SGXLENS_BREAK:
        need_words(words, 2);
        change_regions([&](Regions &regions) {
            return regions.change_break(position(), payload[0], payload[1], value != 0);
        });
        note_mapping(value != 0 ? MappingEvent::break_grow : MappingEvent::break_shrink, value,
                     payload[0], payload[1]);
        break;
    case SGXLENS_MARK: {
        if (phases_.size() >= kPhasesMax) {
            dropped_marks_++;
            break;
        }
        std::string name = text_of(payload, words, value);
        end_phase();
        begin_phase(std::move(name));
        break;
    }
    case SGXLENS_SIGNAL:
        signals_.push_back(SignalDelivery{position(), thread_, value});
        break;
    case SGXLENS_PROCESS: {
        need_words(words, 3);
        program_ = text_of(payload + 3, words - 3, payload[2]);
        pid_ = static_cast<std::int32_t>(payload[0]);
        parent_pid_ = static_cast<std::int32_t>(payload[1]);
        was_forked_ = value == SGXLENS_PROCESS_FORKED;
        break;
    }
    case SGXLENS_PROCESS_END:
        ended_ = true;
        exit_status_ = static_cast<std::int32_t>(value);
        break;
    case SGXLENS_RECORDING:
        break;
    case SGXLENS_TICK:
        need_words(words, 1);
        now_ns_ = payload[0];
        if (phases_.size() == 1 && phases_.front().start_ns == 0)
            phases_.front().start_ns = now_ns_;
        break;
    case SGXLENS_ANNOTATION:
        annotate(value, payload, words);
        break;
    default:
        throw StreamError("unknown kind of record");
    }
}

} // namespace sgxlens
