// A policy as octets: how a reload reaches the translator, in parts over the control channel.
//
// The supervisor is trusted, yet what comes in is read as hostile: sizes, counts and enumerators
// are checked before use, destinations go through the parser that the command line has, and
// whatever does not read to its last octet is refused as a whole. A policy takes effect only when
// all of it has arrived and was understood.
//
// The layout is private to one program: little care for compactness, none for other versions.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "netstack/base/bytes.h"
#include "netstack/flow/translator_config.h"
#include "netstack/host/messages.h"
#include "netstack/policy/policy.h"

namespace cordon {

/// 100,000 rules with their texts are about 12 MiB.
inline constexpr std::size_t kMaxSnapshotOctets = std::size_t{64} << 20;

struct PolicySnapshot {
  PolicyInput policy;
  NameSettings names;
};

[[nodiscard]] std::vector<std::uint8_t> encode_snapshot(const PolicySnapshot& snapshot);
/// nullopt where it is not what encode_snapshot() makes.
[[nodiscard]] std::optional<PolicySnapshot> decode_snapshot(Bytes octets);

/// decode_snapshot() piece by piece.
class SnapshotReader {
 public:
  enum class State : std::uint8_t { kReading, kDone, kBroken };

  explicit SnapshotReader(std::vector<std::uint8_t> octets);
  ~SnapshotReader();
  SnapshotReader(SnapshotReader&&) noexcept;
  SnapshotReader& operator=(SnapshotReader&&) noexcept;

  /// Reads up to `most` rules further.
  State step(std::size_t most);
  /// Once done.
  [[nodiscard]] PolicySnapshot take();

 private:
  struct Reading;
  std::unique_ptr<Reading> reading_;
};

/// Puts the parts together.
class SnapshotAssembly {
 public:
  enum class State : std::uint8_t { kIncomplete, kComplete, kBroken };

  /// `header` is a kPolicyPart. A part that begins at 0 begins anew; one that does not follow the
  /// last is refused, and all after it.
  State add(const Message& header, Bytes part);
  /// What has come, once complete; empties this.
  [[nodiscard]] std::vector<std::uint8_t> take();

 private:
  std::vector<std::uint8_t> octets_;
  std::uint32_t generation_ = 0;
};

}  // namespace cordon
