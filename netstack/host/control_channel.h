// The translator's end of the control channel: events out, answers in (host/messages.h). Nothing
// here waits: an event that the channel has no room for is lost, and a denial that cannot be told
// is refused at once.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "netstack/base/result.h"
#include "netstack/base/unique_fd.h"
#include "netstack/host/messages.h"
#include "netstack/seams/events.h"

namespace cordon {

class ControlChannel final : public Events {
 public:
  explicit ControlChannel(UniqueFd socket) : socket_(std::move(socket)) {}

  bool denied(const Denial& denial) override;
  void flow(const FlowReport& report) override;
  bool asked(const Question& question) override;
  void notice(Notice notice, int code) override;

  [[nodiscard]] int descriptor() const { return socket_.get(); }
  /// The next message of the supervisor; EAGAIN where none waits, EPIPE where it has gone.
  [[nodiscard]] IoResult<Message> receive();
  /// What was told arrives, and then the end.
  void close() { socket_.reset(); }

 private:
  bool send(const Message& message);
  UniqueFd socket_;
};

}  // namespace cordon
