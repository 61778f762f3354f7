// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace sgxlens {

/// From now on the calling thread does not interrupt another when it has work to do again, but
/// waits for its turn (SCHED_BATCH; a policy other than the usual one is left). The recorded
/// program is what all wait for, and where there are few processors each piece of its stream would
/// interrupt it.
void wait_for_its_turn() noexcept;

} // namespace sgxlens
