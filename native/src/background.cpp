// SPDX-License-Identifier: Apache-2.0
#include "sgxlens/background.hpp"

#include <sched.h>

namespace sgxlens {

void wait_for_its_turn() noexcept {
    // 0 is this thread. Where a sandbox forbids it, it is slower without.
    if (sched_getscheduler(0) != SCHED_OTHER)
        return;
    const sched_param priority{};
    sched_setscheduler(0, SCHED_BATCH, &priority);
}

} // namespace sgxlens
