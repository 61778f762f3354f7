// SPDX-License-Identifier: Apache-2.0
#include "fuzz.hpp"

int main() {
    return fuzz_streams() | fuzz_rings() | fuzz_segments() | fuzz_touch() | fuzz_epc() |
           fuzz_distinct() | fuzz_region_pieces() | test_superblock_limits();
}
