#ifndef HF_SANDBOX_AGENT_AGENT_SOURCE_HPP
#define HF_SANDBOX_AGENT_AGENT_SOURCE_HPP

#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/url.hpp>
#include <hf/sandbox/options.hpp>

#include <string>
#include <string_view>
#include <utility>

namespace hf {

/// Where a job gets its agent from. The digest is checked inside the job before anything runs.
class agent_source {
 public:
  /// The ways.
  enum class kind { automatic, official, url, volume, inline_bytes };

  /// Published digest of the public binary 0.7.0 (bucket huggingface/sbx-server).
  static constexpr std::string_view official_sha256 =
      "eb2b04f79fbe765195300aaf1582be2a2a9ea698ff067d0cab428171d5584932";

  /// The launcher decides: `url` when `HF_SANDBOX_AGENT_URL` and `HF_SANDBOX_AGENT_SHA256` are both
  /// set, `errc::invalid_argument` when only one is, else `official`. Without a launcher it stands
  /// for `official`.
  agent_source() = default;

  /// Hugging Face's public binary, downloaded from the Hub without credentials, else copied from a
  /// mounted bucket. It speaks the common protocol; what this project's agent adds reports
  /// `errc::unsupported`.
  template <class = void>
  [[nodiscard]] static agent_source official() {
    agent_source out(kind::official);
    out.sha256_ = std::string(official_sha256);
    return out;
  }

  /// Any agent at a public URL; redirects are followed, no credentials are sent. The URL and the
  /// digest stand in the job's command. Throws `errc::invalid_argument` for a URL that is not http
  /// or https and for a digest that is not 64 hexadecimal digits.
  template <class = void>
  [[nodiscard]] static agent_source url(std::string url, std::string sha256) {
    (void)http::parse_url(url);
    agent_source out(kind::url);
    out.url_ = std::move(url);
    out.set_digest(std::move(sha256));
    return out;
  }

  /// An agent in a private bucket or repository that the job mounts. `path` is below the mount
  /// point (empty `mount_path`: "/.hf-sandbox-agent"). Throws as `url` does.
  template <class = void>
  [[nodiscard]] static agent_source volume(hf::volume from, std::string path, std::string sha256) {
    agent_source out(kind::volume);
    out.volume_ = std::move(from);
    if (out.volume_.mount_path.empty())
      out.volume_.mount_path = "/.hf-sandbox-agent";
    if (!out.volume_.read_only)
      out.volume_.read_only = true;
    out.path_ = std::move(path);
    if (out.path_.empty())
      throw error(errc::invalid_argument, "agent_source::volume: the path is empty");
    out.set_digest(std::move(sha256));
    return out;
  }

  /// The agent itself, sent compressed inside the job's arguments. Launching fails with
  /// `errc::too_large` when that is more than 900 KiB.
  template <class = void>
  [[nodiscard]] static agent_source inline_(std::string bytes) {
    if (bytes.empty())
      throw error(errc::invalid_argument, "agent_source::inline_: no bytes");
    agent_source out(kind::inline_bytes);
    out.bytes_ = std::move(bytes);
    return out;
  }

  /// Which way it is.
  [[nodiscard]] kind what() const noexcept { return kind_; }
  /// URL of `url`.
  [[nodiscard]] std::string const& location() const noexcept { return url_; }
  /// Expected SHA-256, lower-case; empty for inline bytes, whose digest is computed, and for
  /// `automatic`, which is not decided yet.
  [[nodiscard]] std::string const& sha256() const noexcept { return sha256_; }
  /// Mount of `volume`.
  [[nodiscard]] hf::volume const& mount() const noexcept { return volume_; }
  /// Path below the mount.
  [[nodiscard]] std::string const& path() const noexcept { return path_; }
  /// The agent of `inline_`.
  [[nodiscard]] std::string const& bytes() const noexcept { return bytes_; }

 private:
  explicit agent_source(kind what) : kind_(what) {}

  template <class = void>
  void set_digest(std::string digest) {
    for (char& c : digest)
      if (c >= 'A' && c <= 'F')
        c = static_cast<char>(c + 32);
    if (digest.size() != 64 || digest.find_first_not_of("0123456789abcdef") != std::string::npos)
      throw error(errc::invalid_argument,
                  "agent_source: the SHA-256 must be 64 hexadecimal digits");
    sha256_ = std::move(digest);
  }

  kind kind_ = kind::automatic;
  std::string url_;
  std::string sha256_;
  hf::volume volume_;
  std::string path_;
  std::string bytes_;
};

}  // namespace hf

#endif
