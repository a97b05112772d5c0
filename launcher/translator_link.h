// The supervisor's end of the control channel, outwards (host/messages.h). Nothing waits: what the
// channel has no room for is sent when it has, small messages first.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "launcher/side_loop.h"
#include "netstack/host/descriptor/unique_fd.h"
#include "netstack/host/messages.h"

namespace cordon {

class TranslatorLink {
 public:
  TranslatorLink() = default;
  ~TranslatorLink();
  TranslatorLink(const TranslatorLink&) = delete;
  TranslatorLink& operator=(const TranslatorLink&) = delete;

  /// `control` stays the caller's, who may close it at any time; −1: there is no translator.
  void attach(int control, SideLoop& loop);

  /// False where too many wait already, or there is no translator.
  bool send(const Message& message);
  /// A whole policy, as generation `generation`. Takes the place of one that is under way.
  void send_policy(std::uint32_t generation, std::vector<std::uint8_t> snapshot);

 private:
  bool send_now(Bytes packet) const;
  [[nodiscard]] std::vector<std::uint8_t> next_part() const;
  void flush();
  void watch();

  UniqueFd control_;  // a descriptor of our own, so that its number stays ours
  SideLoop* loop_ = nullptr;
  std::deque<Message> waiting_;
  std::vector<std::uint8_t> snapshot_;
  std::size_t sent_ = 0;  // of snapshot_
  std::uint32_t generation_ = 0;
  bool is_watching_ = false;
};

}  // namespace cordon
