// Calls Harbor's API as Harbor's Terraform provider does: with its bodies, in its order, and expecting its status codes.
// A resource is made, read at the place that the answer names, read again to see that a second plan is empty, changed, read,
// and destroyed; what is off in this release has to be refused so that the provider says why.
//
// It is told the address, the name and the password by its arguments. What it reads goes out as a line of JSON a step; the
// first that is not as it should be ends it.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"strings"
)

type body = map[string]any

type calls struct{ address, name, password string }

// A resource: what it is made and changed with, and what of its answer has to be what was set.
type resource struct {
	step    string
	at      string
	make    body
	made    body
	change  body
	changed body
}

func main() {
	c := &calls{os.Args[1] + "/api/v2.0", os.Args[2], os.Args[3]}
	unique := os.Args[4]
	project := c.project(unique)
	c.quota(project)
	c.members(project, unique)
	c.labels(project, unique)
	c.robots(project, unique)
	c.configuration()
	c.off(project)
	c.send("DELETE", project, nil, 200)
	c.send("GET", project, nil, 404)
	say("destroyed", project)
}

func (c *calls) project(unique string) string {
	metadata := func(scan, severity, vulnerable string) body {
		return body{
			"auto_scan": scan, "public": "false", "severity": severity, "prevent_vul": vulnerable,
			"enable_content_trust": "false", "enable_content_trust_cosign": "true", "auto_sbom_generation": "false",
			"reuse_sys_cve_allowlist": "false", "proxy_speed_kb": "-1", "proxy_cache_local_on_not_found": "false",
		}
	}
	list := body{"items": []body{{"cve_id": "CVE-2026-0001"}}}
	asked := body{
		"project_name": unique, "storage_limit": 5 << 30, "metadata": metadata("true", "high", "true"), "cve_allowlist": list,
	}
	at := c.create("/projects", asked)
	c.send("PUT", at, asked, 200)
	kept := func(scan, severity, vulnerable string) body {
		set := metadata(scan, severity, vulnerable)
		// The provider takes these as it has them by default where they are not told.
		delete(set, "proxy_speed_kb")
		delete(set, "proxy_cache_local_on_not_found")
		return body{"name": unique, "metadata": set, "cve_allowlist": list}
	}
	c.same("project", at, kept("true", "high", "true"))
	asked["metadata"] = metadata("false", "low", "false")
	c.send("PUT", at, asked, 200)
	c.same("project changed", at, kept("false", "low", "false"))
	return at
}

// The provider looks for a project's quota page by page, until one is empty.
func (c *calls) quota(project string) {
	number := strings.TrimPrefix(project, "/projects/")
	for page := 1; ; page++ {
		var found []struct {
			ID   int              `json:"id"`
			Ref  struct{ ID int } `json:"ref"`
			Hard map[string]int64 `json:"hard"`
		}
		read(c.send("GET", fmt.Sprintf("/quotas/?page=%d&page_size=100", page), nil, 200), &found)
		if len(found) == 0 {
			break
		}
		for _, one := range found {
			if fmt.Sprint(one.Ref.ID) == number {
				at := fmt.Sprintf("/quotas/%d", one.ID)
				c.send("PUT", at, body{"hard": body{"storage": 6 << 30}}, 200)
				c.same("quota", at, body{"hard": body{"storage": 6 << 30}})
			}
		}
	}
}

func (c *calls) members(project, unique string) {
	user := body{
		"username": unique, "password": "Terraform-pass-1", "email": unique + "@example.org", "realname": "A person",
		"new_password": "Terraform-pass-1",
	}
	at := c.create("/users", user)
	c.same("user", at, body{"username": unique, "email": unique + "@example.org", "realname": "A person", "sysadmin_flag": false})
	user["realname"], user["sysadmin_flag"], user["new_password"] = "Another", true, "Terraform-pass-2"
	for _, part := range []string{"", "/sysadmin", "/password"} {
		c.send("PUT", at+part, user, 200)
	}
	c.same("user changed", at, body{"realname": "Another", "sysadmin_flag": true})
	c.whole(resource{
		"member", project + "/members", body{"role_id": 2, "member_user": body{"username": unique}, "member_group": body{}},
		body{"role_id": 2, "entity_name": unique, "entity_type": "u"},
		body{"role_id": 4, "member_user": body{"username": unique}, "member_group": body{}}, body{"role_id": 4},
	})
	group := c.create("/usergroups", body{"group_name": unique, "group_type": 3})
	c.same("group", group, body{"group_name": unique, "group_type": 3})
	c.whole(resource{
		"member group", project + "/members",
		body{"role_id": 1, "member_group": body{"group_type": 3, "group_name": unique}, "member_user": body{}},
		body{"role_id": 1, "entity_name": unique, "entity_type": "g"},
		body{"role_id": 3, "member_group": body{"group_type": 3, "group_name": unique}, "member_user": body{}}, body{"role_id": 3},
	})
	c.send("DELETE", group, nil, 200)
	c.send("DELETE", at, nil, 200)
}

func (c *calls) labels(project, unique string) {
	var number int
	read([]byte(strings.TrimPrefix(project, "/projects/")), &number)
	for scope, id := range map[string]int{"g": 0, "p": number} {
		one := body{"name": unique, "description": "made", "color": "#0065AB", "scope": scope, "project_id": id, "deleted": false, "id": 0}
		other := body{"name": unique, "description": "changed", "color": "#A2C4C9", "scope": scope, "project_id": id, "deleted": false, "id": 0}
		shown := func(from body) body {
			return body{"name": from["name"], "description": from["description"], "color": from["color"], "scope": scope, "project_id": id}
		}
		c.whole(resource{"label " + scope, "/labels", one, shown(one), other, shown(other)})
	}
}

func (c *calls) robots(project, unique string) {
	access := []body{{"action": "pull", "resource": "repository"}, {"action": "push", "resource": "repository"}}
	places := map[string][]body{
		"project": {{"kind": "project", "namespace": unique, "access": access}},
		"system": {
			{"kind": "project", "namespace": "*", "access": access},
			{"kind": "system", "namespace": "/", "access": []body{{"action": "list", "resource": "project"}}},
		},
	}
	for level, permissions := range places {
		one := body{"name": unique, "description": "made", "duration": 30, "level": level, "permissions": permissions}
		at := c.create("/robots", one)
		c.send("PATCH", at, body{"secret": "Terraform-secret-1"}, 200)
		var robot struct {
			Name        string `json:"name"`
			Permissions []body `json:"permissions"`
		}
		read(c.send("GET", at, nil, 200), &robot)
		short := strings.TrimPrefix(robot.Name, c.prefix())
		if level == "project" {
			short = strings.Split(robot.Name, robot.Permissions[0]["namespace"].(string)+"+")[1]
		}
		if short != unique || len(robot.Permissions) != len(permissions) {
			end("robot "+level, fmt.Errorf("%v, %v", robot, permissions))
		}
		c.same("robot "+level, at, body{"description": "made", "duration": 30, "level": level, "disable": false})
		one["name"], one["description"], one["disable"] = robot.Name, "changed", true
		c.send("PUT", at, one, 200)
		c.same("robot "+level+" changed", at, body{"name": robot.Name, "description": "changed", "disable": true})
		c.send("DELETE", at, nil, 200)
		c.send("GET", at, nil, 404)
	}
}

func (c *calls) prefix() string {
	var found struct {
		Prefix struct{ Value string } `json:"robot_name_prefix"`
	}
	read(c.send("GET", "/configurations", nil, 200), &found)
	return found.Prefix.Value
}

func (c *calls) configuration() {
	asked := body{
		"project_creation_restriction": "adminonly", "read_only": false, "robot_token_duration": 45, "token_expiration": 30,
		"session_timeout": 90, "quota_per_project_enable": true, "storage_per_project": 10 << 30, "robot_name_prefix": "robot$",
		"scanner_skip_update_pulltime": false, "skip_audit_log_database": false, "notification_enable": false,
		"banner_message": `{"closable":true,"message":"hello","type":"info","fromDate":"10/10/2026","toDate":"10/11/2026"}`,
	}
	var before map[string]struct {
		Value any `json:"value"`
	}
	read(c.send("GET", "/configurations", nil, 200), &before)
	// Of what is fixed here the provider has to be told what it is: anything else is refused with the reason.
	for _, name := range []string{"token_expiration", "notification_enable", "robot_name_prefix"} {
		asked[name] = before[name].Value
	}
	c.send("PUT", "/configurations", asked, 200)
	var after map[string]struct {
		Value any `json:"value"`
	}
	read(c.send("GET", "/configurations", nil, 200), &after)
	for name, value := range asked {
		if fmt.Sprint(plain(value)) != fmt.Sprint(after[name].Value) {
			end("configuration", fmt.Errorf("%s was set to %v, and is %v", name, value, after[name].Value))
		}
	}
	say("configuration", after)
	back := body{}
	for name := range asked {
		back[name] = before[name].Value
	}
	c.send("PUT", "/configurations", back, 200)
	// How people sign in is one resource of the provider's, and system's defaults another: both with no more than they say.
	c.send("PUT", "/configurations", body{"auth_mode": before["auth_mode"].Value, "self_registration": false}, 200)
}

func (c *calls) off(project string) {
	schedule := body{"schedule": body{"type": "Daily", "cron": "0 0 0 * * *"}, "parameters": body{"delete_untagged": true}}
	refused := map[string]body{
		"/retentions":           {"algorithm": "or", "scope": body{"level": "project", "ref": 1}, "trigger": body{"kind": "Schedule"}},
		"/registries":           {"name": "hub", "type": "docker-hub", "url": "https://hub.docker.com", "insecure": false},
		"/replication/policies": {"name": "away", "enabled": true, "trigger": body{"type": "manual"}},
		"/system/gc/schedule":   schedule, "/system/purgeaudit/schedule": schedule,
		project + "/immutabletagrules": {"action": "immutable", "template": "immutable_template"},
		project + "/webhook/policies":  {"name": "told", "enabled": true, "event_types": []string{"PUSH_ARTIFACT"}},
	}
	for path, asked := range refused {
		c.send("POST", path, asked, 412)
	}
	for _, path := range []string{"/retentions/77", "/registries/77", "/replication/policies/77", project + "/webhook/policies/77"} {
		c.send("GET", path, nil, 404)
	}
	for _, path := range []string{project + "/immutabletagrules?page=1&page_size=100", "/scanners", "/registries?page=1"} {
		var found []any
		read(c.send("GET", path, nil, 200), &found)
		if len(found) != 0 {
			end(path, fmt.Errorf("has %v", found))
		}
	}
	for _, path := range []string{"/system/gc/schedule", project + "/scanner"} {
		var found body
		read(c.send("GET", path, nil, 200), &found)
	}
	say("off", len(refused))
}

// whole makes a resource, sees that a second plan would be empty, changes it, sees the same, and destroys it.
func (c *calls) whole(one resource) {
	at := c.create(one.at, one.make)
	c.same(one.step, at, one.made)
	c.send("PUT", at, one.change, 200)
	c.same(one.step+" changed", at, one.changed)
	c.send("DELETE", at, nil, 200)
	c.send("GET", at, nil, 404)
}

// same reads a resource twice: all that was set is what it was set to.
func (c *calls) same(step, at string, set body) {
	for range 2 {
		var found body
		read(c.send("GET", at, nil, 200), &found)
		for name, value := range set {
			if !holds(found[name], plain(value)) {
				end(step, fmt.Errorf("%s was set to %v, and is %v", name, value, found[name]))
			}
		}
	}
	say(step, set)
}

// holds says whether what is read has all that was set; of an object it may tell more.
func holds(found, set any) bool {
	switch wanted := set.(type) {
	case map[string]any:
		known, is := found.(map[string]any)
		for name, value := range wanted {
			if !is || !holds(known[name], value) {
				return false
			}
		}
		return true
	default:
		return reflect.DeepEqual(found, set)
	}
}

// create makes something, and gives where it is, below the API's own path.
func (c *calls) create(path string, asked body) string {
	_, header := c.ask("POST", path, asked, 201)
	location := strings.ReplaceAll(strings.ReplaceAll(header.Get("Location"), "/api", ""), "/v2.0", "")
	if !strings.HasPrefix(location, path+"/") {
		end("POST "+path, fmt.Errorf("Location is %q", location))
	}
	return location
}

func (c *calls) send(method, path string, asked any, status int) []byte {
	told, _ := c.ask(method, path, asked, status)
	return told
}

func (c *calls) ask(method, path string, asked any, status int) ([]byte, http.Header) {
	written := new(bytes.Buffer)
	if asked != nil {
		check(path, json.NewEncoder(written).Encode(asked))
	}
	request, err := http.NewRequest(method, c.address+path, written)
	check(path, err)
	request.SetBasicAuth(c.name, c.password)
	request.Header.Add("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	check(path, err)
	defer answer.Body.Close()
	told, err := io.ReadAll(answer.Body)
	check(path, err)
	if answer.StatusCode != status {
		end(method+" "+path, fmt.Errorf("is answered %d, and not %d: %s", answer.StatusCode, status, told))
	}
	return told, answer.Header
}

func read(told []byte, into any) { check(string(told), json.Unmarshal(told, into)) }

// plain gives a value as it is read back.
func plain(value any) (found any) {
	told, err := json.Marshal(value)
	check("a value", err)
	read(told, &found)
	return found
}

func say(step string, is any) {
	check(step, json.NewEncoder(os.Stdout).Encode(map[string]any{"step": step, "is": is}))
}

func check(step string, err error) {
	if err != nil {
		end(step, err)
	}
}

func end(step string, err error) {
	fmt.Fprintf(os.Stderr, "%s: %v\n", step, err)
	os.Exit(1)
}
