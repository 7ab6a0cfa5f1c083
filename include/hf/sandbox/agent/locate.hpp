#ifndef HF_SANDBOX_AGENT_LOCATE_HPP
#define HF_SANDBOX_AGENT_LOCATE_HPP

#include <hf/sandbox/error.hpp>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace hf {

/// File name of the agent.
inline constexpr std::string_view agent_file_name = "hf-sandbox-agent";

/// Finds the agent's binary for this machine; returns its absolute path.
///
/// A path given by the caller, else the environment variable `HF_SANDBOX_AGENT`, is the only place
/// looked at when it is set. Otherwise, in this order: the macro `HF_SANDBOX_AGENT_PATH` of the
/// build; relative to the running program's directory `../libexec/hf-sandbox-agent`,
/// `../libexec/hf-sandbox/hf-sandbox-agent` (installed), `hf-sandbox-agent`,
/// `../bin/hf-sandbox-agent`, `../agent/hf-sandbox-agent` (build tree); `/usr/local/libexec`,
/// `/usr/libexec`; then `PATH`. Throws `errc::agent_not_found` with the list of all these.
template <class Path = std::filesystem::path>
[[nodiscard]] Path locate_agent(std::filesystem::path const& given = {}) {
  namespace fs = std::filesystem;
  // Why the file at that path is not the agent; null: it may be.
  auto const fault_of = [](fs::path const& path) -> char const* {
    std::error_code ec;
    auto const status = fs::status(path, ec);
    auto const executable = fs::perms::owner_exec | fs::perms::group_exec | fs::perms::others_exec;
    if (status.type() == fs::file_type::not_found)
      return "there is no such file";
    if (ec)
      return "it cannot be looked at";
    if (fs::is_directory(status))
      return "it is a directory; name the file in it";
    if (!fs::is_regular_file(status))
      return "it is not a regular file";
    if ((status.permissions() & executable) == fs::perms::none)
      return "it is not executable (chmod +x)";
    return nullptr;
  };
  auto const usable = [&](fs::path const& path) { return fault_of(path) == nullptr; };
  auto const only = [&](fs::path const& path, char const* from) {
    char const* const fault = fault_of(path);
    if (fault == nullptr)
      return fs::absolute(path);
    throw error(errc::agent_not_found, "the agent's binary is not at " + path.string() +
                                           ", the path that " + from + " names: " + fault);
  };
  if (!given.empty())
    return only(given, "the launcher's option 'agent'");
  if (char const* const path = std::getenv("HF_SANDBOX_AGENT"); path != nullptr && *path != '\0')
    return only(path, "HF_SANDBOX_AGENT");

  std::vector<Path> places;
#if defined(HF_SANDBOX_AGENT_PATH)
  places.emplace_back(HF_SANDBOX_AGENT_PATH);
#endif
  std::error_code ec;
  if (auto const program = fs::read_symlink("/proc/self/exe", ec); !ec) {
    auto const here = program.parent_path();
    for (char const* const beside :
         {"../libexec", "../libexec/hf-sandbox", ".", "../bin", "../agent"})
      places.push_back((here / beside / agent_file_name).lexically_normal());
  }
  for (char const* const prefix : {"/usr/local/libexec", "/usr/libexec"})
    places.push_back(fs::path(prefix) / agent_file_name);
  if (char const* const path = std::getenv("PATH"); path != nullptr) {
    std::string_view rest = path;
    while (!rest.empty()) {
      auto const end = rest.find(':');
      auto const folder = rest.substr(0, end);
      rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
      if (!folder.empty() && folder.front() == '/')
        places.push_back(fs::path(folder) / agent_file_name);
    }
  }
  std::string looked;
  for (auto place = places.begin(); place != places.end(); ++place) {
    if (usable(*place))
      return *place;
    if (std::find(places.begin(), place, *place) == place)  // PATH often repeats itself
      looked += "\n  " + place->string();
  }
  throw error(
      errc::agent_not_found,
      "the agent's binary (hf-sandbox-agent) was not found; build it from hf-sandbox's sources "
      "(cmake --build <folder> --target hf_sandbox_agent) and name it in HF_SANDBOX_AGENT or "
      "the launcher's option 'agent'. Looked at:" +
          looked);
}

}  // namespace hf

#endif
