#ifndef HF_SANDBOX_AGENT_PROXY_REWRITE_HPP
#define HF_SANDBOX_AGENT_PROXY_REWRITE_HPP

#include <string>
#include <string_view>

namespace hf::agent {

/// What a server inside and its callers call the same place: "http://localhost:8000/x" is
/// "/v1/proxy/8000/x" at the agent.
struct proxy_names {
  /// Path of the server's root as callers see it, without a slash at its end.
  std::string prefix;
  /// The Host that the caller named.
  std::string outside;
  /// The Host that was named to a proxy before this one; empty: there was none.
  std::string far_outside;
  /// The Host that the server gets: most check that it is a local one.
  std::string inside;
};

/// A Location: an absolute path, or a URL of this machine's server, is put below the prefix; what
/// is there already, is relative or leads elsewhere stays.
[[nodiscard]] std::string location_outside(proxy_names const& names, std::string_view location);

/// A Set-Cookie: its path is put below the prefix, or is the prefix, and its domain is left out: no
/// server inside sets cookies for other ports or other hosts.
[[nodiscard]] std::string cookie_outside(proxy_names const& names, std::string_view cookie);

/// An Origin: the caller's own becomes the server's own, as the two have to agree with Host.
[[nodiscard]] std::string origin_inside(proxy_names const& names, std::string_view origin);

}  // namespace hf::agent

#endif
