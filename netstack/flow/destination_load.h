// How much one destination address is asked for: dials under way, and new flows a second. A black
// hole or a scan of one host must not use up what the other destinations need.
//
// Addresses share kBuckets counters by keyed hash. Two addresses in one bucket share its limit; a
// guest cannot choose which.
#pragma once

#include <cstdint>
#include <memory>

#include "netstack/address/ip_address.h"
#include "netstack/base/invariant.h"
#include "netstack/base/siphash.h"
#include "netstack/base/token_bucket.h"
#include "netstack/flow/limits.h"

namespace cordon {

class DestinationLoad {
 public:
  explicit DestinationLoad(const SipKey& key)
      : buckets_(std::make_unique<Bucket[]>(kBuckets)), key_(key), last_bucket_(index_of({})) {}

  /// Whether one more flow to `address` may begin now; takes its token.
  [[nodiscard]] bool may_begin(const IpAddress& address, Instant now) {
    return bucket(address).new_flows.take(now);
  }
  [[nodiscard]] bool may_dial(const IpAddress& address) {
    return bucket(address).dialling < kMaxHalfOpenPerAddress;
  }
  void dial_began(const IpAddress& address) { ++bucket(address).dialling; }
  void dial_ended(const IpAddress& address) {
    std::uint32_t& dialling = bucket(address).dialling;
    if (CORDON_INVARIANT(dialling > 0)) --dialling;
  }

 private:
  static constexpr std::size_t kBuckets = 1024;
  struct Bucket {
    TokenBucket new_flows{kNewFlowsPerSecond, kNewFlowsBurst};
    std::uint32_t dialling = 0;
  };

  // One flow asks several times in a row, and the keyed hash is dear.
  Bucket& bucket(const IpAddress& address) {
    if (address != last_address_) {
      last_address_ = address;
      last_bucket_ = index_of(address);
    }
    return buckets_[last_bucket_];
  }
  [[nodiscard]] std::size_t index_of(const IpAddress& address) const {
    return siphash(key_, address.octets()) % kBuckets;
  }

  std::unique_ptr<Bucket[]> buckets_;
  SipKey key_;
  IpAddress last_address_;
  std::size_t last_bucket_;
};

}  // namespace cordon
