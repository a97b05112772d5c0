// The translator's end of the control channel: events out, answers in (host/messages.h). Nothing
// here waits: an event that the channel has no room for is lost, and a denial that cannot be told
// is refused at once.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "netstack/base/result.h"
#include "netstack/host/descriptor/unique_fd.h"
#include "netstack/host/messages.h"
#include "netstack/seams/events.h"

namespace cordon {

class ControlChannel final : public Events {
 public:
  explicit ControlChannel(UniqueFd socket) : socket_(std::move(socket)) {}

  bool denied(const Denial& denial) override;
  void flow(const FlowReport& report) override;
  bool introduced(std::uint32_t id, const Request& request) override;
  void resolved(const Resolution& resolution) override;
  bool asked(const Question& question) override;
  bool listed(const FlowReport& report) override;
  void notice(Notice notice, int code) override;

  [[nodiscard]] int descriptor() const { return socket_.get(); }
  struct Received {
    Message message;
    Bytes part;  // kPolicyPart; until the next call
  };
  /// The next message of the supervisor; EAGAIN where none waits, EPIPE where it has gone.
  [[nodiscard]] IoResult<Received> receive();
  /// What was told arrives, and then the end.
  void close() { socket_.reset(); }

  /// A piece of the list of living flows is told; the next one begins at `next_cursor`.
  void end_list(std::uint64_t next_cursor);

  /// A policy has taken effect: every message from here on is marked with its generation.
  void policy_taken(std::uint32_t generation);
  /// It was not understood, and the one before goes on.
  void policy_refused(std::uint32_t generation);

 private:
  bool send(Message message);
  UniqueFd socket_;
  std::uint32_t generation_ = 0;
  std::array<std::uint8_t, sizeof(Message) + kMaxPartOctets> packet_{};
};

}  // namespace cordon
