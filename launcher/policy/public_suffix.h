// Names under which anybody can have a name of his own: com, co.uk, github.io (publicsuffix.org).
#pragma once

#include <memory>
#include <string>

namespace cordon {

/// The newer one of the system's list (/usr/share/publicsuffix) and the one that libpsl was built
/// with. Without either, nothing is a public suffix.
class PublicSuffixes {
 public:
  PublicSuffixes();
  ~PublicSuffixes();
  PublicSuffixes(const PublicSuffixes&) = delete;
  PublicSuffixes& operator=(const PublicSuffixes&) = delete;

  /// `name` in lower case, without a dot at the end. Whether registrars sell names under it (com,
  /// co.uk).
  [[nodiscard]] bool is_of_registrars(const std::string& name) const;
  /// The same, or customers of a company have theirs under it (github.io, s3.amazonaws.com).
  [[nodiscard]] bool is_public(const std::string& name) const;

 private:
  struct List;
  std::unique_ptr<List> list_;
};

}  // namespace cordon
