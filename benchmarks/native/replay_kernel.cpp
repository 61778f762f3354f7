// SPDX-License-Identifier: Apache-2.0
//
// Times the reuse-distance kernel on the accesses of a stream (a file of records as in stream.h):
//     replay_kernel STREAM [FIRST]
// Prints millions of line accesses a second, lines and pages together on one core, for the whole
// stream and for what follows access FIRST. Decoding is reported apart. The environment variable
// SGXLENS_INSTRUCTION_SET chooses the code path, as in the product.
#include "sgxlens/reuse_stack.hpp"
#include "sgxlens/stream.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

using sgxlens::AccessClass;

constexpr std::size_t kBatch = 16384;

struct Operation {
    std::uint64_t offset;
    std::uint32_t size;
    std::uint16_t kind;
    std::uint16_t base;
};

struct Exit {
    std::uint32_t first_operation;
    std::uint32_t operation_count;
};

// Of this thread, so that other work on the machine disturbs little.
double processor_seconds() {
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

class Replay {
  public:
    explicit Replay(std::uint64_t first) : first_(first) {
        sgxlens::ReuseStackOptions options;
        options.granularity = sgxlens::Granularity::page;
        pages_ = sgxlens::ReuseStack(options);
    }

    // Takes one record.
    void record(const std::uint64_t *words) {
        const std::uint64_t *const payload = words + 1;
        switch (SGXLENS_KIND(words[0])) {
        case SGXLENS_RUN:
            run(exits_[SGXLENS_VALUE(words[0])], payload);
            break;
        case SGXLENS_DEFINE:
            define(payload);
            break;
        case SGXLENS_KERNEL_READ:
            access(payload[0], payload[1], AccessClass::kernel_read);
            break;
        case SGXLENS_KERNEL_WRITE:
            access(payload[0], payload[1], AccessClass::kernel_write);
            break;
        }
        if (entries_.size() >= kBatch)
            flush();
    }

    void flush() {
        const double start = processor_seconds();
        lines_.access(entries_.data(), entries_.size());
        const double middle = processor_seconds();
        pages_.access(entries_.data(), entries_.size());
        const double end = processor_seconds();
        line_seconds_ += middle - start;
        page_seconds_ += end - middle;
        if (count_ < first_ && count_ + entries_.size() >= first_) {
            first_ = count_ + entries_.size();
            seconds_before_ = line_seconds_ + page_seconds_;
        }
        count_ += entries_.size();
        entries_.clear();
    }

    void report(double all_seconds) const {
        const double seconds = line_seconds_ + page_seconds_;
        const auto millions = [](std::uint64_t count) { return static_cast<double>(count) * 1e-6; };
        std::printf("%.1f M line accesses; decoding %.2f s, lines %.2f s, pages %.2f s\n",
                    millions(count_), all_seconds - seconds, line_seconds_, page_seconds_);
        std::printf("whole stream: %.1f M/s\n", millions(count_) / seconds);
        if (first_ > 0 && first_ < count_)
            std::printf("last %.1f M:  %.1f M/s\n", millions(count_ - first_),
                        millions(count_ - first_) / (seconds - seconds_before_));
        const std::uint64_t blocks = lines_.whole().any;
        const std::size_t bytes = lines_.peak_memory_bytes() + pages_.peak_memory_bytes();
        std::printf("%.2f M lines, %.1f MB at the peak: %.1f bytes a line\n", millions(blocks),
                    static_cast<double>(bytes) * 1e-6,
                    static_cast<double>(bytes) / static_cast<double>(blocks));
    }

  private:
    void define(const std::uint64_t *payload) {
        const std::uint64_t exit_count = payload[1] & 0xffffffffu;
        const std::uint64_t operation_count = payload[1] >> 32;
        for (std::uint64_t i = 0; i < exit_count; ++i)
            exits_.push_back({static_cast<std::uint32_t>(operations_.size()),
                              SGXLENS_EXIT_OPERATIONS(payload[2 + i])});
        const std::uint64_t *const operations = payload + 2 + exit_count;
        for (std::uint64_t i = 0; i < operation_count; ++i) {
            const std::uint64_t word = operations[2 * i];
            operations_.push_back({operations[2 * i + 1], SGXLENS_OPERATION_SIZE(word),
                                   static_cast<std::uint16_t>(SGXLENS_OPERATION_KIND(word)),
                                   static_cast<std::uint16_t>(SGXLENS_OPERATION_BASE(word))});
        }
    }

    void run(const Exit &exit, const std::uint64_t *values) {
        for (std::uint32_t i = 0; i < exit.operation_count; ++i) {
            const Operation &operation = operations_[exit.first_operation + i];
            const std::uint64_t base =
                operation.base == SGXLENS_BASE_NONE ? 0 : values[operation.base];
            if (operation.kind <= SGXLENS_OP_STORE)
                access(base + operation.offset, operation.size,
                       static_cast<AccessClass>(operation.kind));
            else if (operation.kind <= SGXLENS_OP_STORE_IF && base != 0)
                access(base + operation.offset, operation.size,
                       operation.kind == SGXLENS_OP_LOAD_IF ? AccessClass::load
                                                            : AccessClass::store);
        }
    }

    void access(std::uint64_t address, std::uint64_t size, AccessClass access_class) {
        if (size == 0)
            return;
        const std::uint64_t first = address / SGXLENS_LINE_BYTES;
        const std::uint64_t last = (address + size - 1) / SGXLENS_LINE_BYTES;
        constexpr std::uint64_t kPageLines = SGXLENS_PAGE_BYTES / SGXLENS_LINE_BYTES;
        for (std::uint64_t line = first; line <= last; ++line)
            entries_.push_back(
                sgxlens::make_entry(line, line != first && line % kPageLines != 0, access_class));
    }

    sgxlens::ReuseStack lines_;
    sgxlens::ReuseStack pages_;
    std::vector<Exit> exits_;
    std::vector<Operation> operations_;
    std::vector<std::uint64_t> entries_;
    std::uint64_t first_;
    std::uint64_t count_ = 0;
    double line_seconds_ = 0;
    double page_seconds_ = 0;
    double seconds_before_ = 0;
};

} // namespace

int main(int argument_count, char **arguments) {
    if (argument_count < 2) {
        std::fprintf(stderr, "usage: replay_kernel STREAM [FIRST]\n");
        return 2;
    }
    const int file = open(arguments[1], O_RDONLY);
    struct stat status{};
    if (file < 0 || fstat(file, &status) != 0) {
        std::perror(arguments[1]);
        return 1;
    }
    const auto bytes = static_cast<std::size_t>(status.st_size);
    void *const mapping = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, file, 0);
    close(file);
    if (mapping == MAP_FAILED) {
        std::perror(arguments[1]);
        return 1;
    }
    const auto *const words = static_cast<const std::uint64_t *>(mapping);
    const std::size_t word_count = bytes / sizeof(std::uint64_t);

    Replay replay(argument_count > 2 ? std::strtoull(arguments[2], nullptr, 0) : 0);
    const double start = processor_seconds();
    for (std::size_t i = 0; i < word_count; i += 1 + SGXLENS_PAYLOAD(words[i])) {
        if (i + SGXLENS_PAYLOAD(words[i]) >= word_count)
            break; // cut off within a record
        replay.record(words + i);
    }
    replay.flush();
    replay.report(processor_seconds() - start);
    munmap(mapping, bytes);
    return 0;
}
