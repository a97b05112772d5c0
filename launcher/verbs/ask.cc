#include "launcher/verbs/ask.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <map>
#include <poll.h>
#include <unistd.h>

#include <fmt/format.h>

#include "launcher/control/questions.h"
#include "launcher/supervisor.h"

namespace cordon {
namespace {

constexpr std::string_view kAskHelp =
    R"(Shows the questions of a sandbox that was started with --ask (or has ask rules), and takes the
answers: once, this run, ten minutes, always (written to the policy file), no, never (in this run).

Usage: cordon ask [ID]

  ID    the sandbox, as `cordon ps` lists it; may be left out where one runs

An answer is a letter or a word and goes to the oldest question, or begins with a question's number:
"3 run".
)";

constexpr std::string_view kChoices = "[o]nce, this [r]un, [t]en minutes, [a]lways, [n]o, never?";
constexpr Duration kNow = Duration::zero();

class Conversation {
 public:
  explicit Conversation(ControlClient client) : client_(std::move(client)) {}

  Status begin() {
    CORDON_TRY(const Json answer, client_.ask({{"request", "ask"}}));
    fmt::print("asking for sandbox {}; ^D ends\n", client_.id());
    return {};
  }

  /// Until the sandbox or the input ends.
  Status run() {
    for (;;) {
      std::array<pollfd, 2> waits{pollfd{.fd = client_.fd(), .events = POLLIN},
                                  pollfd{.fd = STDIN_FILENO, .events = POLLIN}};
      if (std::fflush(stdout) != 0) return errno_error("standard output");
      if (!client_.has_line() && ::poll(waits.data(), waits.size(), -1) < 0 && errno != EINTR) {
        return errno_error("poll");
      }
      if (client_.has_line() || waits[0].revents != 0) {
        CORDON_TRY(const bool is_alive, read_event());
        if (!is_alive) return {};
      }
      if (waits[1].revents != 0) {
        CORDON_TRY(const bool has_more, read_person());
        if (!has_more) return {};
      }
    }
  }

 private:
  Result<bool> read_event() {
    CORDON_TRY(const std::optional<Json> event, client_.receive(kNow));
    // Nothing whole has come, unless it has ended.
    if (!event) return !has_ended();
    const std::string kind = text_of(*event, "event");
    const std::uint64_t id = number_of(*event, "id");
    if (kind == "asked") {
      waiting_[id] = question_text(*event);
      fmt::print("{}\n  {} ", waiting_[id], kChoices);
    } else if (kind == "answered") {
      if (const std::string words = text_of(*event, "text"); !words.empty()) {
        fmt::print("\n{}\n", words);
      }
      if (waiting_.erase(id) > 0) fmt::print("{}: {}\n", id, text_of(*event, "answer"));
    } else if (const std::string why = text_of(*event, "error"); !why.empty()) {
      fmt::print("{}\n", why);
    }
    return true;
  }

  [[nodiscard]] bool has_ended() const {
    pollfd wait{.fd = client_.fd(), .events = POLLIN};
    return ::poll(&wait, 1, 0) == 1 && (wait.revents & (POLLHUP | POLLERR)) != 0;
  }

  Result<bool> read_person() {
    std::array<char, 512> piece{};
    const ssize_t size = ::read(STDIN_FILENO, piece.data(), piece.size());
    if (size < 0 && errno == EINTR) return true;
    if (size <= 0) return false;
    typed_.append(piece.data(), static_cast<std::size_t>(size));
    for (;;) {
      const std::size_t end = typed_.find('\n');
      if (end == std::string::npos) return true;
      const std::string line = typed_.substr(0, end);
      typed_.erase(0, end + 1);
      CORDON_TRY_STATUS(on_line(line));
    }
  }

  Status on_line(const std::string& line) {
    if (waiting_.empty()) return {};
    std::uint64_t id = waiting_.begin()->first;
    std::string word = line;
    const std::size_t digits = line.find_first_not_of("0123456789");
    const bool has_number = digits != 0 && digits != std::string::npos && line[digits] == ' ';
    if (has_number && digits < 10) {
      id = std::stoul(line.substr(0, digits));
      word = line.substr(digits + 1);
    }
    const std::optional<Answer> answer = parse_answer(word);
    if (!answer) {
      fmt::print("  {} ", kChoices);
      return {};
    }
    return client_.send({{"request", "answer"},
                         {"id", id},
                         {"answer", answer_name(answer->kind)},
                         {"minutes", answer->minutes}});
  }

  ControlClient client_;
  std::map<std::uint64_t, std::string> waiting_;
  std::string typed_;
};

Status converse(const std::string& id) {
  CORDON_TRY(const ControlFolder folder, ControlFolder::open());
  CORDON_TRY(ControlClient client, ControlClient::connect_to_one(folder, id));
  Conversation conversation(std::move(client));
  CORDON_TRY_STATUS(conversation.begin());
  return conversation.run();
}

int ask(const std::string& id) {
  const Status status = converse(id);
  if (status) return 0;
  fmt::print(stderr, "cordon: ask: {}\n", status.error().message());
  return kExitOwnFailure;
}

}  // namespace

std::string question_text(const Json& event) {
  const std::string name = text_of(event, "name");
  const std::string destination = text_of(event, "destination");
  const std::string program = text_of(event, "program");
  const std::string to = text_of(event, "to");
  const std::string who = program.empty()
                              ? "the command"
                              : fmt::format("{} (pid {})", program, number_of(event, "pid"));
  return fmt::format("{}: {} wants {} {}, rule={}", number_of(event, "id"), who,
                     text_of(event, "protocol"),
                     to.empty() ? (name.empty() ? destination : name) : to, text_of(event, "rule"));
}

Result<CommandLine> parse_ask(std::span<const std::string> arguments) {
  bool wants_help = false;
  const OptionSpec specs[] = {{.names = "-h,--help", .is_set = &wants_help}};
  CORDON_TRY(const std::vector<std::string> rest,
             read_options("ask", arguments, specs, OptionPlace::kAnywhere));
  if (wants_help) return show_text(kAskHelp);
  if (rest.size() > 1) return plain_error("ask: one sandbox at a time");
  const std::string id = rest.empty() ? std::string() : rest.front();
  return perform([id] { return ask(id); });
}

}  // namespace cordon
