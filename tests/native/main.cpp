// SPDX-License-Identifier: Apache-2.0
#include "fuzz.hpp"

int main() {
    return fuzz_streams() | fuzz_rings() | fuzz_segments() | fuzz_touch() | fuzz_epc() |
           fuzz_distinct() | test_superblock_limits();
}
