// SPDX-License-Identifier: Apache-2.0
#include "sgxlens/page_use.hpp"

#include <algorithm>
#include <new>

namespace sgxlens {

namespace {

std::size_t hash_of(std::uint64_t page, ContextNumber context, std::size_t slot_count) {
    std::uint64_t h = (page ^ (std::uint64_t{context} << 40)) * 0x9e3779b97f4a7c15u;
    return (h ^ (h >> 32)) & (slot_count - 1);
}

} // namespace

void PageUses::begin_span() {
    // A table that one large span needed is cleared in every later one.
    if (rows_.size() - span_start_ < slots_.size() / 16 && slots_.size() > 256)
        slots_.resize(slots_.size() / 2);
    std::fill(slots_.begin(), slots_.end(), 0);
    span_start_ = rows_.size();
    last_ = kNone;
}

void PageUses::begin_context(ContextNumber context) {
    context_ = context;
    last_ = kNone;
}

std::size_t PageUses::row_of(std::uint64_t page) {
    std::size_t slot = hash_of(page, context_, slots_.size());
    for (; slots_[slot] != 0; slot = (slot + 1) & (slots_.size() - 1)) {
        const std::size_t row = slots_[slot] - 1;
        if (rows_[row].page == page && rows_[row].context == context_)
            return row;
    }
    if (rows_.size() >= 0xfffffffe)
        throw std::bad_alloc();
    rows_.push_back({page, 0, 0, 0, context_});
    slots_[slot] = static_cast<std::uint32_t>(rows_.size());
    if ((rows_.size() - span_start_) * 2 > slots_.size())
        grow();
    return rows_.size() - 1;
}

void PageUses::grow() {
    slots_.assign(slots_.size() * 2, 0);
    for (std::size_t row = span_start_; row < rows_.size(); ++row) {
        std::size_t slot = hash_of(rows_[row].page, rows_[row].context, slots_.size());
        while (slots_[slot] != 0)
            slot = (slot + 1) & (slots_.size() - 1);
        slots_[slot] = static_cast<std::uint32_t>(row + 1);
    }
}

std::size_t PageUses::memory_bytes() const {
    return rows_.capacity() * sizeof rows_[0] + slots_.capacity() * sizeof slots_[0];
}

} // namespace sgxlens
