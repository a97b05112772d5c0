#include "launcher/translator_link.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

namespace cordon {
namespace {

constexpr std::size_t kMostWaitingMessages = 256;

Bytes bytes_of(const Message& message) {
  return {reinterpret_cast<const std::uint8_t*>(&message), sizeof(message)};
}

}  // namespace

TranslatorLink::~TranslatorLink() {
  if (is_watching_) loop_->forget(control_.get());
}

void TranslatorLink::attach(int control, SideLoop& loop) {
  control_ = UniqueFd(control < 0 ? -1 : ::fcntl(control, F_DUPFD_CLOEXEC, 0));
  loop_ = &loop;
}

bool TranslatorLink::send(const Message& message) {
  if (!control_.is_open()) return false;
  if (waiting_.empty() && send_now(bytes_of(message))) return true;
  if (waiting_.size() == kMostWaitingMessages) return false;
  waiting_.push_back(message);
  watch();
  return true;
}

void TranslatorLink::send_policy(std::uint32_t generation, std::vector<std::uint8_t> snapshot) {
  if (!control_.is_open()) return;
  generation_ = generation;
  snapshot_ = std::move(snapshot);
  sent_ = 0;
  flush();
}

bool TranslatorLink::send_now(Bytes packet) const {
  return ::send(control_.get(), packet.data(), packet.size(), MSG_DONTWAIT | MSG_NOSIGNAL) ==
         static_cast<ssize_t>(packet.size());
}

std::vector<std::uint8_t> TranslatorLink::next_part() const {
  const std::size_t size = std::min(snapshot_.size() - sent_, kMaxPartOctets);
  Message header;
  header.kind = MessageKind::kPolicyPart;
  header.generation = generation_;
  header.cursor = sent_;
  header.total = snapshot_.size();
  std::vector<std::uint8_t> packet(sizeof(header) + size);
  std::memcpy(packet.data(), &header, sizeof(header));
  std::memcpy(packet.data() + sizeof(header), snapshot_.data() + sent_, size);
  return packet;
}

void TranslatorLink::flush() {
  while (!waiting_.empty() && send_now(bytes_of(waiting_.front()))) waiting_.pop_front();
  while (waiting_.empty() && sent_ < snapshot_.size()) {
    const std::vector<std::uint8_t> part = next_part();
    if (!send_now(part)) break;
    sent_ += part.size() - sizeof(Message);
  }
  if (sent_ == snapshot_.size()) {
    snapshot_.clear();
    sent_ = 0;
  }
  watch();
}

void TranslatorLink::watch() {
  const bool has_more = !waiting_.empty() || !snapshot_.empty();
  if (has_more == is_watching_) return;
  if (!has_more) {
    loop_->forget(control_.get());
    is_watching_ = false;
    return;
  }
  const Status watched = loop_->watch(control_.get(), EPOLLOUT, [this](std::uint32_t events) {
    // Its end is seen by the supervisor's own loop.
    if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
      waiting_.clear();
      snapshot_.clear();
      sent_ = 0;
      return watch();
    }
    flush();
  });
  is_watching_ = watched.has_value();
}

}  // namespace cordon
