// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>
#include <string>

namespace sgxlens {

/// A stream, or a file of one, that does not follow tracer/include/sgxlens/stream.h.
class StreamError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

} // namespace sgxlens
