#include "launcher/audit/evidence.h"

#include <algorithm>
#include <poll.h>

namespace cordon::audit {

void Evidence::add(Leak leak, const Notice& notice) {
  auto& known = notices_[static_cast<std::size_t>(leak)];
  const bool is_known = std::find(known.begin(), known.end(), notice) != known.end();
  if (!is_known && known.size() < kMostNotices) known.push_back(notice);
}

void Waiter::wait(int milliseconds) {
  std::vector<pollfd> polled;
  polled.reserve(waiting_.size());
  for (const auto& [fd, on_readable] : waiting_) polled.push_back({.fd = fd, .events = POLLIN});
  if (::poll(polled.data(), polled.size(), milliseconds) <= 0) return;
  for (const pollfd& entry : polled) {
    if (entry.revents == 0) continue;
    // What is called back may take out any of the others, or itself.
    const auto found = waiting_.find(entry.fd);
    if (found == waiting_.end()) continue;
    const auto on_readable = found->second;
    on_readable();
  }
}

}  // namespace cordon::audit
