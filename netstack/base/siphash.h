// SipHash-2-4 (Aumasson and Bernstein, 2012): the keyed hash behind flow-table buckets and initial
// sequence numbers (RFC 6528), where a guest or a remote must not be able to predict the result.
#pragma once

#include <cstdint>

#include "netstack/base/bytes.h"

namespace cordon {

struct SipKey {
  std::uint64_t k0 = 0;
  std::uint64_t k1 = 0;
};

[[nodiscard]] std::uint64_t siphash(const SipKey& key, Bytes input);

}  // namespace cordon
