// SPDX-License-Identifier: Apache-2.0
//
// Reads the words of a stream and writes its page accesses: 32 bits each, twice the number of the
// page in the order of first accesses, and 1 if it is written. Successive accesses to one page are
// one. Shares no code with the reader of streams that it helps to test.
#include "sgxlens/stream.h"

#include <cstdint>
#include <cstdio>
#include <unordered_map>
#include <utility>
#include <vector>

namespace {

using Word = std::uint64_t;

std::vector<Word> operations;                        // two words each
std::vector<std::pair<std::size_t, unsigned>> exits; // first operation and how many
unsigned first_exit;
std::unordered_map<Word, std::uint32_t> numbers;
std::vector<std::uint32_t> accesses;
Word last_page = ~Word{0};

void write_out() {
    std::fwrite(accesses.data(), sizeof accesses[0], accesses.size(), stdout);
    accesses.clear();
}

void access(Word address, Word size, bool writes) {
    for (Word page = address >> 12; page <= (address + size - 1) >> 12; ++page) {
        if (page == last_page) {
            accesses.back() |= writes;
            continue;
        }
        // Never all of them: the last may still be written to.
        if (accesses.size() > 1 << 16)
            write_out();
        last_page = page;
        const auto number = static_cast<std::uint32_t>(numbers.size());
        accesses.push_back(numbers.emplace(page, number).first->second << 1 | writes);
    }
}

void run(const Word *record) {
    const auto [first, count] = exits[SGXLENS_VALUE(record[0]) - first_exit];
    const Word *at = operations.data() + 2 * first;
    for (const Word *const end = at + 2 * count; at < end; at += 2) {
        const unsigned kind = SGXLENS_OPERATION_KIND(at[0]);
        const unsigned base = SGXLENS_OPERATION_BASE(at[0]);
        if (kind > SGXLENS_OP_STORE_IF)
            continue;
        const Word value = base == SGXLENS_BASE_NONE ? 0 : record[1 + base];
        const bool is_made = kind < SGXLENS_OP_LOAD_IF || value != 0;
        if (is_made)
            access(value + at[1], SGXLENS_OPERATION_SIZE(at[0]),
                   kind == SGXLENS_OP_STORE || kind == SGXLENS_OP_STORE_IF);
    }
}

void define(const Word *record) {
    const std::size_t exit_count = record[2] & 0xffffffff;
    const Word *const exit_words = record + 3;
    if (exits.empty())
        first_exit = SGXLENS_VALUE(record[0]);
    for (std::size_t i = 0; i < exit_count; ++i)
        exits.emplace_back(operations.size() / 2, SGXLENS_EXIT_OPERATIONS(exit_words[i]));
    operations.insert(operations.end(), exit_words + exit_count,
                      exit_words + exit_count + 2 * (record[2] >> 32));
}

void take(const Word *record) {
    switch (SGXLENS_KIND(record[0])) {
    case SGXLENS_RUN:
        return run(record);
    case SGXLENS_DEFINE:
        return define(record);
    case SGXLENS_KERNEL_READ:
    case SGXLENS_KERNEL_WRITE:
        if (record[2] > 0)
            access(record[1], record[2], SGXLENS_KIND(record[0]) == SGXLENS_KERNEL_WRITE);
    }
}

} // namespace

int main() {
    std::vector<Word> words(1 << 20);
    std::size_t held = 0;
    for (std::size_t got; (got = std::fread(&words[held], 8, words.size() - held, stdin)) > 0;) {
        held += got;
        std::size_t at = 0;
        for (; at < held && at + 1 + SGXLENS_PAYLOAD(words[at]) <= held;
             at += 1 + SGXLENS_PAYLOAD(words[at]))
            take(&words[at]);
        words.erase(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(at));
        words.resize(1 << 20);
        held -= at;
    }
    write_out();
    return held == 0 ? 0 : 1;
}
