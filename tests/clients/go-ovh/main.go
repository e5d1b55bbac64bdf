// Calls the provider's API through the provider's own library for Go, in the order and with the waiting of its Terraform
// provider: a resource is made and awaited, read, read again to see that nothing differs, changed, and destroyed.
//
// It is told where and with what keys by the library's environment variables, and the cloud project by its argument. What
// it reads goes out as a line of JSON a step; the first that is not as it should be ends it.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"reflect"
	"slices"
	"time"

	"github.com/ovh/go-ovh/ovh"
)

const (
	pause   = 100 * time.Millisecond
	longest = 2 * time.Minute
)

type registry struct {
	CreatedAt  string `json:"createdAt"`
	ID         string `json:"id"`
	IamEnabled bool   `json:"iamEnabled"`
	Name       string `json:"name"`
	ProjectID  string `json:"projectID"`
	Region     string `json:"region"`
	Size       int64  `json:"size"`
	Status     string `json:"status"`
	UpdatedAt  string `json:"updatedAt"`
	URL        string `json:"url"`
	Version    string `json:"version"`
}

type plan struct {
	Code     string `json:"code"`
	ID       string `json:"id"`
	Name     string `json:"name"`
	Features struct {
		Vulnerability bool `json:"vulnerability"`
	} `json:"features"`
	Limits struct {
		ImageStorage    int64 `json:"imageStorage"`
		ParallelRequest int64 `json:"parallelRequest"`
	} `json:"registryLimits"`
}

type capability struct {
	RegionName string `json:"regionName"`
	Plans      []plan `json:"plans"`
}

type user struct {
	Email    string `json:"email"`
	ID       string `json:"id"`
	Password string `json:"password"`
	User     string `json:"user"`
}

type restriction struct {
	Description string `json:"description"`
	IPBlock     string `json:"ipBlock"`
}

// signIn is how a registry's users sign in through OpenID Connect. It shows no secret.
type signIn struct {
	AdminGroup   string `json:"adminGroup"`
	AutoOnboard  bool   `json:"autoOnboard"`
	ClientID     string `json:"clientId"`
	ClientSecret string `json:"clientSecret,omitempty"`
	Endpoint     string `json:"endpoint"`
	GroupFilter  string `json:"groupFilter,omitempty"`
	GroupsClaim  string `json:"groupsClaim"`
	ID           string `json:"id,omitempty"`
	Name         string `json:"name"`
	Scope        string `json:"scope"`
	Status       string `json:"status,omitempty"`
	UserClaim    string `json:"userClaim"`
	VerifyCert   bool   `json:"verifyCert"`
}

type calls struct {
	client *ovh.Client
	all    string
	one    string
}

func main() {
	client, err := ovh.NewEndpointClient(os.Getenv("OVH_ENDPOINT"))
	check("a client", err)
	c := &calls{client: client, all: "/cloud/project/" + url.PathEscape(os.Args[1]) + "/containerRegistry"}
	plans := c.capabilities()
	c.create(plans["SMALL"])
	c.noDifference()
	c.update(plans["MEDIUM"])
	c.users()
	c.restrict("registry")
	c.restrict("management")
	c.openIDConnect()
	c.iam()
	c.noDifference()
	c.destroy()
}

func (c *calls) capabilities() map[string]string {
	var found []capability
	check("capabilities", c.client.Get("/cloud/project/"+os.Args[1]+"/capabilities/containerRegistry", &found))
	ids := map[string]string{}
	for _, one := range found[0].Plans {
		ids[one.Name] = one.ID
	}
	say("capabilities", found)
	return ids
}

func (c *calls) create(planID string) {
	var found []capability
	check("capabilities", c.client.Get("/cloud/project/"+os.Args[1]+"/capabilities/containerRegistry", &found))
	var made registry
	asked := map[string]string{"name": "terraformed", "region": found[0].RegionName, "planID": planID}
	check("create", c.client.Post(c.all, asked, &made))
	c.one = c.all + "/" + url.PathEscape(made.ID)
	c.await([]string{"INSTALLING", "DELIVERING"}, "READY")
	say("create", c.read())
}

// noDifference is what makes a second plan empty: two readings are the same in all that is not counted.
func (c *calls) noDifference() {
	one, its := c.read(), c.plan()
	again, theirs := c.read(), c.plan()
	one.Size, one.UpdatedAt, again.Size, again.UpdatedAt = 0, "", 0, ""
	if !reflect.DeepEqual(one, again) || its != theirs {
		check("reading twice", fmt.Errorf("%v %v, then %v %v", one, its, again, theirs))
	}
}

func (c *calls) update(planID string) {
	check("rename", c.client.Put(c.one, map[string]string{"name": "renamed"}, nil))
	check("change the plan", c.client.Put(c.one+"/plan", map[string]string{"planID": planID}, nil))
	c.await([]string{"SCALING_UP"}, "READY")
	say("update", c.read())
	say("plan", c.plan())
}

func (c *calls) users() {
	var made user
	check("make a user", c.client.Post(c.one+"/users", map[string]string{"email": "a@example.org", "login": "someone"}, &made))
	if made.Password == "" {
		check("make a user", errors.New("no password"))
	}
	if !slices.ContainsFunc(c.listedUsers(), func(one user) bool { return one.ID == made.ID && one.Password == "" }) {
		check("list users", errors.New("the user that was made is not there, or shows its password"))
	}
	check("delete a user", c.client.Delete(c.one+"/users/"+url.PathEscape(made.ID), nil))
	say("users", c.listedUsers())
}

func (c *calls) listedUsers() []user {
	var listed []user
	check("list users", c.client.Get(c.one+"/users", &listed))
	return listed
}

// restrict hands the library a nil list to read an answer into, as the Terraform provider does.
func (c *calls) restrict(part string) {
	path := c.one + "/ipRestrictions/" + part
	var answer, found, none []restriction
	asked := []restriction{{"office", "192.0.2.0/24"}, {"home", "2001:db8::/64"}}
	check("restrict "+part, c.client.Put(path, asked, answer))
	check("restrictions of "+part, c.client.Get(path, &found))
	say("restrictions "+part, found)
	check("restrict "+part+" no more", c.client.Put(path, []restriction{}, answer))
	check("restrictions of "+part, c.client.Get(path, &none))
	if len(none) != 0 {
		check("restrict "+part+" no more", fmt.Errorf("left: %v", none))
	}
}

func (c *calls) openIDConnect() {
	path := c.one + "/openIdConnect"
	asked := signIn{
		Name: "provider", Endpoint: "https://sso.example.org", ClientID: "moorage", ClientSecret: "a secret of ours",
		Scope: "openid,profile", UserClaim: "sub", GroupsClaim: "groups", AdminGroup: "admins", VerifyCert: true,
	}
	var answer, found, again signIn
	check("set OIDC", c.client.Post(path, map[string]any{"deleteUsers": true, "provider": asked}, &answer))
	check("get OIDC", c.client.Get(path, &found))
	say("openIdConnect", found)
	asked.AdminGroup = "others"
	check("set OIDC again", c.client.Post(path, map[string]any{"provider": asked}, &answer))
	check("get OIDC", c.client.Get(path, &again))
	say("openIdConnect again", again)
	check("delete OIDC", c.client.Delete(path, nil))
	c.absent(path)
}

func (c *calls) iam() {
	check("IAM on", c.client.Post(c.one+"/iam", map[string]bool{"deleteUsers": true}, nil))
	say("iam on", c.read())
	check("IAM off", c.client.Delete(c.one+"/iam", nil))
	say("iam off", c.read())
}

func (c *calls) destroy() {
	check("delete", c.client.Delete(c.one, nil))
	c.await([]string{"DELETING"}, "DELETED")
	say("destroyed", c.all)
}

func (c *calls) read() registry {
	var found registry
	check("read", c.client.Get(c.one, &found))
	return found
}

func (c *calls) plan() plan {
	var found plan
	check("read the plan", c.client.Get(c.one+"/plan", &found))
	return found
}

func (c *calls) absent(path string) {
	var refused *ovh.APIError
	if err := c.client.Get(path, &struct{}{}); !errors.As(err, &refused) || refused.Code != 404 {
		check("what was deleted", fmt.Errorf("is there: %v", err))
	}
}

// await polls as the Terraform provider does: any status that is neither pending nor the target is an error.
func (c *calls) await(pending []string, target string) {
	for until := time.Now().Add(longest); ; time.Sleep(pause) {
		var found registry
		var refused *ovh.APIError
		err := c.client.Get(c.one, &found)
		if errors.As(err, &refused) && refused.Code == 404 {
			found.Status = "DELETED"
		} else {
			check("await", err)
		}
		switch {
		case found.Status == target:
			return
		case !slices.Contains(pending, found.Status) || time.Now().After(until):
			check("await", fmt.Errorf("%s while it should become %s", found.Status, target))
		}
	}
}

func say(step string, what any) {
	line, err := json.Marshal(map[string]any{"step": step, "is": what})
	check(step, err)
	fmt.Println(string(line))
}

func check(step string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", step, err)
		os.Exit(1)
	}
}
