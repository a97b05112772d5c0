// Who asks upstreams: one face for the engines that are compared. An asker lives on one thread and
// waits in turn() only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "netstack/address/ip_address.h"
#include "netstack/base/bytes.h"
#include "netstack/base/time.h"

namespace cordon::bench {

/// What came of a question.
struct Outcome {
  bool is_answered = false;  // NOERROR with an address
  bool is_forged = false;    // the address is the forger's
  std::size_t addresses = 0;
};
using Done = std::function<void(const Outcome&)>;

/// The addresses in the responder's answers and in the forgers'.
inline constexpr std::uint8_t kHonestOctet = 80;
inline constexpr std::uint8_t kForgedOctet = 66;

/// What a response says, by the form that the responder gives it: a header, the question, and A
/// records of 16 octets. Cheap, and the same for all askers.
[[nodiscard]] Outcome outcome_of(Bytes response);

class Asker {
 public:
  virtual ~Asker() = default;
  /// False where the engine does not take another list now.
  virtual bool set_upstreams(std::span<const Endpoint> upstreams) = 0;
  /// For an A record of `name`. `done` is called from within turn(), or from here.
  virtual void ask(const std::string& name, Done done) = 0;
  /// Waits for events until `until` at most, and handles those that have come.
  virtual void turn(Instant until) = 0;
};

using MakeAsker = std::function<std::unique_ptr<Asker>(std::vector<Endpoint> upstreams)>;

/// cordon's netstack/names/upstream_queries, with the translator's own event loop and sockets.
[[nodiscard]] std::unique_ptr<Asker> make_own_asker(std::vector<Endpoint> upstreams);

enum class CaresUse : std::uint8_t {
  kOneChannel,          // as its makers mean it: fast
  kChannelPerQuestion,  // the only way to a socket and a port of its own for each question
};
[[nodiscard]] std::unique_ptr<Asker> make_cares_asker(std::vector<Endpoint> upstreams,
                                                      CaresUse use);
/// "1.18.1".
[[nodiscard]] std::string cares_version();

}  // namespace cordon::bench
