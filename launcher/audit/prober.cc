#include "launcher/audit/prober.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <dirent.h>
#include <fcntl.h>
#include <iterator>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <fmt/format.h>

#include "launcher/audit/host_view.h"
#include "netstack/host/descriptor/unique_fd.h"

namespace cordon::audit {
namespace {

// Whatever hangs, the audit's own deadline comes later than this.
constexpr unsigned kLongestLifeSeconds = 25;
constexpr int kMostDescriptors = 1024;

void probe_own_namespace(const ProbePlan& plan, const Teller& teller) {
  const std::uint64_t own = network_namespace_inode();
  if (own == 0 || plan.network_namespace == 0) {
    teller.report(Leak::kHostNetwork, Outcome::kNotTested, "/proc/self/ns/net cannot be read");
  } else if (own == plan.network_namespace) {
    teller.report(Leak::kHostNetwork, Outcome::kObtained,
                  fmt::format("net:[{}] on both sides", own));
  } else {
    teller.report(Leak::kHostNetwork, Outcome::kRefused, fmt::format("its own is net:[{}]", own));
  }
}

/// A connection over its own loopback: shows that a refusal further out means something.
std::string own_loopback_trouble() {
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener.is_open() || !client.is_open()) return error_words(errno);
  sockaddr_in address{.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof(address);
  if (::bind(listener.get(), generic, size) != 0 || ::listen(listener.get(), 1) != 0 ||
      ::getsockname(listener.get(), generic, &size) != 0 ||
      (::connect(client.get(), generic, size) != 0 && errno != EINPROGRESS)) {
    return error_words(errno);
  }
  constexpr int kOwnMilliseconds = 1000;
  pollfd wait{.fd = listener.get(), .events = POLLIN};
  return ::poll(&wait, 1, kOwnMilliseconds) == 1 ? std::string() : "nothing came";
}

}  // namespace

void Teller::refused(Leak leak, const std::string& what, int code) const {
  report(leak, Outcome::kRefused, fmt::format("{}: {}", what, error_words(code)));
}

void Teller::write(const ProberLine& line) const {
  const std::string text = write_line(nonce_, line);
  // Nobody to tell it to: then there is nothing left to do here.
  if (::write(STDOUT_FILENO, text.data(), text.size()) < 0) ::_exit(1);
}

std::string error_words(int code) {
  const char* const text = ::strerrordesc_np(code);
  return text != nullptr ? text : fmt::format("errno {}", code);
}

void in_child(const Teller& teller, Leak leak, int milliseconds,
              const std::function<void()>& attempt) {
  const pid_t child = ::fork();
  if (child < 0) return teller.refused(leak, "fork", errno);
  if (child == 0) {
    attempt();
    ::_exit(0);
  }
  constexpr timespec kPause{.tv_sec = 0, .tv_nsec = 2'000'000};
  int status = 0;
  for (int waited = 0; ::waitpid(child, &status, WNOHANG) == 0; waited += 2) {
    if (waited > milliseconds) {
      ::kill(child, SIGKILL);
      ::waitpid(child, &status, 0);
      return teller.report(leak, Outcome::kSilent, fmt::format("no end after {} ms", milliseconds));
    }
    ::nanosleep(&kPause, nullptr);
  }
  if (WIFSIGNALED(status)) {
    teller.report(leak, Outcome::kRefused, fmt::format("ended by signal {}", WTERMSIG(status)));
  }
}

std::optional<std::vector<int>> numbers_in(const char* path) {
  DIR* const folder = ::opendir(path);
  if (folder == nullptr) return std::nullopt;
  std::vector<int> numbers;
  // NOLINTNEXTLINE(concurrency-mt-unsafe): one thread
  while (const dirent* const entry = ::readdir(folder)) {
    const std::string_view name = entry->d_name;
    int number = -1;
    const auto [stop, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    const bool is_number = error == std::errc{} && stop == name.data() + name.size();
    if (is_number && number != ::dirfd(folder)) numbers.push_back(number);
  }
  ::closedir(folder);
  return numbers;
}

std::vector<int> open_descriptors() {
  std::vector<int> open;
  if (const auto listed = numbers_in("/proc/self/fd")) {
    std::copy_if(listed->begin(), listed->end(), std::back_inserter(open),
                 [](int fd) { return fd > STDERR_FILENO; });
    return open;
  }
  for (int fd = STDERR_FILENO + 1; fd < kMostDescriptors; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0) open.push_back(fd);
  }
  return open;
}

std::string lo_mark(std::string_view nonce) { return fmt::format("mark {}", nonce); }

int probe(const std::string& word) {
  constexpr int kFailed = 125;
  const std::vector<int> inherited = open_descriptors();
  ::alarm(kLongestLifeSeconds);
  (void)::signal(SIGPIPE, SIG_IGN);
  const auto plan = decode_plan(word);
  if (!plan) {
    fmt::print(stderr, "cordon: {}\n", plan.error().message());
    return kFailed;
  }
  const Teller teller(plan->nonce);
  teller.notice(ProberNotice::Kind::kHello);
  const std::string trouble = own_loopback_trouble();
  teller.notice(ProberNotice::Kind::kOwnNetwork, trouble.empty(), trouble);
  probe_own_namespace(*plan, teller);
  probe_descriptors(*plan, teller, inherited);
  probe_unix_sockets(*plan, teller);
  probe_terminal(*plan, teller);
  probe_kernel(teller);
  probe_processes(*plan, teller);
  probe_packets(*plan, teller);
  probe_names(*plan, teller);
  probe_streams(*plan, teller);
  probe_added_address(*plan, teller);
  teller.notice(ProberNotice::Kind::kBye);
  return 0;
}

}  // namespace cordon::audit
