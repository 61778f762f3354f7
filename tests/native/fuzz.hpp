// SPDX-License-Identifier: Apache-2.0
#pragma once

// Each returns an exit status and says what it did.
int fuzz_streams();
int fuzz_rings();
int fuzz_segments();
int fuzz_touch();
int fuzz_epc();
int fuzz_distinct();
int fuzz_region_pieces();
int test_superblock_limits();
