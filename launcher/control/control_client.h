// The other end of a control socket, for the verbs: lines out, lines in, waiting.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "launcher/control/control_folder.h"
#include "launcher/events/event_json.h"
#include "netstack/base/result.h"
#include "netstack/base/time.h"
#include "netstack/host/descriptor/unique_fd.h"

namespace cordon {

class ControlClient {
 public:
  [[nodiscard]] static Result<ControlClient> connect(const ControlFolder& folder,
                                                     const std::string& id);
  /// The one sandbox that runs where `id` is empty. Errors: none runs, or several do.
  [[nodiscard]] static Result<ControlClient> connect_to_one(const ControlFolder& folder,
                                                            const std::string& id);

  [[nodiscard]] int fd() const { return socket_.get(); }
  [[nodiscard]] const std::string& id() const { return id_; }

  [[nodiscard]] Status send(const Json& request);
  /// The next line as an object; waits up to `patience`. nullopt: the sandbox has ended, or the
  /// time is over. An answer that is no object is an error.
  [[nodiscard]] Result<std::optional<Json>> receive(Duration patience);
  /// A line that has come already.
  [[nodiscard]] bool has_line() const { return in_.find('\n') != std::string::npos; }

  /// Sends, and waits for the answer. Errors: what the sandbox said against it; no answer.
  [[nodiscard]] Result<Json> ask(const Json& request);

 private:
  ControlClient(UniqueFd socket, std::string id) : socket_(std::move(socket)), id_(std::move(id)) {}

  UniqueFd socket_;
  std::string id_;
  std::string in_;
};

/// Members of an object that came over a socket; a default where one is missing or is something
/// else.
[[nodiscard]] std::string text_of(const Json& object, const char* key);
[[nodiscard]] std::uint64_t number_of(const Json& object, const char* key);
[[nodiscard]] bool truth_of(const Json& object, const char* key);

/// nullopt where it is no JSON object.
[[nodiscard]] std::optional<Json> parse_object(std::string_view line);

}  // namespace cordon
