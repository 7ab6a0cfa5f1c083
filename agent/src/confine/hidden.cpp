#include "confine/hidden.hpp"

#include "confine/system.hpp"
#include "confine/system_paths.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <system_error>

namespace hf::agent::confine {

namespace {

std::string real_path(std::string const& path) {
  char* const found = path.empty() ? nullptr : ::realpath(path.c_str(), nullptr);
  if (found == nullptr)
    return {};
  std::string real = found;
  std::free(found);
  return real;
}

std::string containing_folder(std::string const& path) {
  return path.substr(0, path.rfind('/'));
}

/// The home that /etc/passwd names for a user; HOME may say something else, or nothing.
std::string home_in_passwd(uid_t uid) {
  std::string const text = read_file("/etc/passwd");
  std::string_view rest = text;
  while (!rest.empty()) {
    auto const end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    std::string_view fields[6];
    for (auto& field : fields) {
      auto const colon = line.find(':');
      field = line.substr(0, colon);
      line.remove_prefix(colon == std::string_view::npos ? line.size() : colon + 1);
    }
    if (fields[2] == std::to_string(uid))
      return std::string(fields[5]);
  }
  return {};
}

/// The system directory that holds the path; empty: none.
std::string_view system_directory_of(std::string const& path) {
  for (std::string_view const directory : system_directories)
    if (is_within(path, std::string(directory)))
      return directory;
  return {};
}

/// Some accounts of the system have a home like /usr/sbin, which is not theirs.
bool is_own(std::string const& path) {
  struct stat found {};
  return ::stat(path.c_str(), &found) == 0 && found.st_uid == ::geteuid();
}

/// The directories below `folder` whose names say that sandboxes have their state in them.
void add_states_in(std::string const& folder, std::vector<std::string>& to) {
  std::error_code ignored;
  for (auto const& entry : std::filesystem::directory_iterator(folder, ignored))
    if (entry.path().filename().string().rfind("hf-sandbox-", 0) == 0 &&
        !entry.is_symlink(ignored) && entry.is_directory(ignored))
      to.push_back(entry.path().string());
}

}  // namespace

bool is_within(std::string const& path, std::string const& directory) {
  return path.compare(0, directory.size(), directory) == 0 &&
         (path.size() == directory.size() || path[directory.size()] == '/');
}

std::vector<std::string> hidden_directories(settings const& how) {
  std::vector<std::string> hidden;
  for (auto const& home : {how.home, home_in_passwd(::geteuid())}) {
    auto path = real_path(home);
    if (auto const directory = system_directory_of(path);
        !directory.empty() && path != directory && is_own(path))
      hidden.push_back(std::move(path));
  }
  for (auto const& place : {how.state, how.scratch})
    if (auto path = real_path(containing_folder(place)); !system_directory_of(path).empty())
      hidden.push_back(std::move(path));
  return hidden;
}

std::vector<std::string> state_directories(settings const& how) {
  std::vector<std::string> states;
  for (auto const& path : {how.state, how.alias})
    if (auto real = real_path(containing_folder(path)); !real.empty() && real != "/")
      states.push_back(std::move(real));
  // Scratch directories lie beside what is no sandbox's, in /var/tmp for example.
  if (auto real = real_path(how.scratch); !real.empty())
    states.push_back(std::move(real));
  std::vector<std::string> folders{"/tmp", "/var/tmp", "/run/user/" + std::to_string(::geteuid())};
  for (auto const& state : states)
    folders.push_back(containing_folder(state));
  std::sort(folders.begin(), folders.end());
  folders.erase(std::unique(folders.begin(), folders.end()), folders.end());
  for (auto const& folder : folders)
    add_states_in(real_path(folder), states);
  std::sort(states.begin(), states.end());
  states.erase(std::unique(states.begin(), states.end()), states.end());
  return states;
}

}  // namespace hf::agent::confine
