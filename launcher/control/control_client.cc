#include "launcher/control/control_client.h"

#include <array>
#include <cerrno>
#include <poll.h>
#include <sys/socket.h>

#include <fmt/format.h>

#include "launcher/clock.h"

namespace cordon {
namespace {

constexpr Duration kAnswerPatience = std::chrono::seconds(5);
constexpr std::size_t kLongestAnswer = 1U << 20;

int milliseconds_until(Instant deadline) {
  const Instant now = monotonic_now();
  if (now >= deadline) return 0;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - now).count();
  return static_cast<int>(std::min<std::int64_t>(left, 1'000'000));
}

bool wait_for(int fd, short events, Instant deadline) {
  for (;;) {
    pollfd ready{.fd = fd, .events = events, .revents = 0};
    const int count = ::poll(&ready, 1, milliseconds_until(deadline));
    if (count > 0) return true;
    if (count == 0 && monotonic_now() >= deadline) return false;
    if (count < 0 && errno != EINTR) return false;
  }
}

}  // namespace

std::optional<Json> parse_object(std::string_view line) {
  Json json = Json::parse(line, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  return json;
}

std::string text_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::uint64_t number_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}

bool truth_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

Result<ControlClient> ControlClient::connect(const ControlFolder& folder, const std::string& id) {
  CORDON_TRY(UniqueFd socket, folder.connect(id));
  return ControlClient(std::move(socket), id);
}

Result<ControlClient> ControlClient::connect_to_one(const ControlFolder& folder,
                                                    const std::string& id) {
  if (!id.empty()) return connect(folder, id);
  std::optional<ControlClient> only;
  std::string ids;
  int count = 0;
  for (const std::string& one : folder.list()) {
    Result<ControlClient> client = connect(folder, one);
    if (!client) continue;
    ids += (count++ == 0 ? "" : ", ") + one;
    only = *std::move(client);
  }
  if (count == 1) return *std::move(only);
  if (count == 0) return plain_error("no sandbox of yours runs on this host");
  return plain_error(fmt::format("which sandbox? {} run: {}", count, ids));
}

Status ControlClient::send(const Json& request) {
  const std::string line = dump_line(request) + "\n";
  std::string_view left = line;
  const Instant deadline = monotonic_now() + kAnswerPatience;
  while (!left.empty()) {
    const ssize_t size = ::send(socket_.get(), left.data(), left.size(), MSG_NOSIGNAL);
    if (size > 0) left.remove_prefix(static_cast<std::size_t>(size));
    if (size >= 0 || errno == EINTR) continue;
    if (errno != EAGAIN || !wait_for(socket_.get(), POLLOUT, deadline)) {
      return errno_error(fmt::format("sandbox {}", id_));
    }
  }
  return {};
}

Result<std::optional<Json>> ControlClient::receive(Duration patience) {
  const Instant deadline = monotonic_now() + patience;
  for (;;) {
    if (const std::size_t end = in_.find('\n'); end != std::string::npos) {
      std::optional<Json> json = parse_object(std::string_view(in_).substr(0, end));
      in_.erase(0, end + 1);
      if (!json) return plain_error(fmt::format("sandbox {}: an answer that is no JSON", id_));
      return json;
    }
    if (in_.size() > kLongestAnswer) {
      return plain_error(fmt::format("sandbox {}: an answer without an end", id_));
    }
    if (!wait_for(socket_.get(), POLLIN, deadline)) return std::optional<Json>();
    std::array<char, 16384> piece{};
    const ssize_t size = ::recv(socket_.get(), piece.data(), piece.size(), 0);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (size <= 0) return std::optional<Json>();
    in_.append(piece.data(), static_cast<std::size_t>(size));
  }
}

Result<Json> ControlClient::ask(const Json& request) {
  CORDON_TRY_STATUS(send(request));
  CORDON_TRY(std::optional<Json> answer, receive(kAnswerPatience));
  if (!answer) return plain_error(fmt::format("sandbox {} does not answer", id_));
  if (truth_of(*answer, "ok")) return *std::move(answer);
  const std::string why = text_of(*answer, "error");
  return plain_error(why.empty() ? "refused without a reason" : why);
}

}  // namespace cordon
