ALTER TABLE manifest ADD COLUMN shown SMALLINT;

ALTER TABLE manifest ADD COLUMN project_id BIGINT;

ALTER TABLE repository ADD COLUMN artifacts BIGINT DEFAULT 0 NOT NULL;

ALTER TABLE repository ADD COLUMN pulls BIGINT DEFAULT 0 NOT NULL;

ALTER TABLE project ADD COLUMN repositories BIGINT DEFAULT 0 NOT NULL;

ALTER TABLE project ADD COLUMN artifacts BIGINT DEFAULT 0 NOT NULL;

ALTER TABLE registry ADD COLUMN projects BIGINT DEFAULT 0 NOT NULL;

ALTER TABLE registry ADD COLUMN public_projects BIGINT DEFAULT 0 NOT NULL;

ALTER TABLE registry ADD COLUMN repositories BIGINT DEFAULT 0 NOT NULL;

ALTER TABLE registry ADD COLUMN public_repositories BIGINT DEFAULT 0 NOT NULL;

ALTER TABLE member ADD COLUMN name TEXT;

CREATE INDEX label_global ON label (registry_id, name, id) WHERE deleted_at IS NULL AND project_id IS NULL;

CREATE INDEX label_listed ON label (registry_id, project_id, name, id) WHERE deleted_at IS NULL;

CREATE INDEX member_listed ON member (registry_id, project_id, name, id, role);

CREATE INDEX repository_created ON repository (registry_id, project_id, created_at, id) WHERE deleted_at IS NULL AND state = 'live';

CREATE INDEX repository_newest ON repository (registry_id, created_at, id, project_id) WHERE deleted_at IS NULL AND state = 'live';

CREATE INDEX robot_of_project ON robot (registry_id, project_id, name, id) WHERE deleted_at IS NULL;

CREATE INDEX robot_of_system ON robot (registry_id, name, id) WHERE deleted_at IS NULL AND project_id IS NULL;

CREATE INDEX user_group_listed ON user_group (registry_id, name, id) WHERE deleted_at IS NULL;

CREATE INDEX user_listed ON user (registry_id, name, id) WHERE deleted_at IS NULL;

UPDATE manifest SET shown = CASE WHEN manifest.deleted_at IS NULL AND manifest.subject IS NULL AND NOT EXISTS (SELECT 1 FROM tag WHERE tag.registry_id = manifest.registry_id AND tag.manifest_id = manifest.id AND tag.end_at IS NULL AND tag.name >= 'sha256-' AND tag.name < 'sha256.' AND length(tag.name) = 75 AND substr(tag.name, 72) = '.sig') AND (EXISTS (SELECT 1 FROM tag WHERE tag.registry_id = manifest.registry_id AND tag.manifest_id = manifest.id AND tag.end_at IS NULL) OR NOT EXISTS (SELECT 1 FROM manifest_child JOIN manifest parent ON parent.registry_id = manifest_child.registry_id AND parent.id = manifest_child.parent_id WHERE manifest_child.registry_id = manifest.registry_id AND manifest_child.repository_id = manifest.repository_id AND manifest_child.child = manifest.digest AND parent.deleted_at IS NULL)) THEN 1 ELSE 0 END, project_id = (SELECT r.project_id FROM repository r WHERE r.registry_id = manifest.registry_id AND r.id = manifest.repository_id);

CREATE INDEX manifest_listed ON manifest (registry_id, repository_id, pushed_at, id, kind, shown) WHERE shown = 1;

CREATE INDEX manifest_of_project ON manifest (registry_id, project_id, pushed_at, id, kind, shown, repository_id) WHERE shown = 1;

UPDATE repository SET artifacts = (SELECT count(*) FROM manifest m WHERE m.registry_id = repository.registry_id AND m.repository_id = repository.id AND m.shown = 1), pulls = (SELECT coalesce(sum(p.pulls), 0) FROM manifest m JOIN pull_stat p ON p.registry_id = m.registry_id AND p.manifest_id = m.id WHERE m.registry_id = repository.registry_id AND m.repository_id = repository.id);

UPDATE project SET repositories = (SELECT count(*) FROM repository x WHERE x.registry_id = project.registry_id AND x.project_id = project.id AND x.deleted_at IS NULL AND x.state = 'live'), artifacts = (SELECT coalesce(sum(x.artifacts), 0) FROM repository x WHERE x.registry_id = project.registry_id AND x.project_id = project.id AND x.deleted_at IS NULL AND x.state = 'live');

UPDATE registry SET projects = (SELECT count(*) FROM project x WHERE x.registry_id = registry.registry_id AND x.deleted_at IS NULL AND x.state = 'live'), public_projects = (SELECT count(*) FROM project x WHERE x.registry_id = registry.registry_id AND x.deleted_at IS NULL AND x.state = 'live' AND x.public = 1), repositories = (SELECT coalesce(sum(x.repositories), 0) FROM project x WHERE x.registry_id = registry.registry_id AND x.deleted_at IS NULL AND x.state = 'live'), public_repositories = (SELECT coalesce(sum(x.repositories), 0) FROM project x WHERE x.registry_id = registry.registry_id AND x.deleted_at IS NULL AND x.state = 'live' AND x.public = 1);

UPDATE member SET name = coalesce((SELECT u.name FROM "user" u WHERE u.registry_id = member.registry_id AND u.id = member.user_id), (SELECT g.name FROM user_group g WHERE g.registry_id = member.registry_id AND g.id = member.group_id));

CREATE TRIGGER manifest_counted AFTER INSERT ON manifest BEGIN
UPDATE manifest SET shown = CASE WHEN NEW.deleted_at IS NULL AND NEW.subject IS NULL AND NOT EXISTS (SELECT 1 FROM tag WHERE tag.registry_id = NEW.registry_id AND tag.manifest_id = NEW.id AND tag.end_at IS NULL AND tag.name >= 'sha256-' AND tag.name < 'sha256.' AND length(tag.name) = 75 AND substr(tag.name, 72) = '.sig') AND (EXISTS (SELECT 1 FROM tag WHERE tag.registry_id = NEW.registry_id AND tag.manifest_id = NEW.id AND tag.end_at IS NULL) OR NOT EXISTS (SELECT 1 FROM manifest_child JOIN manifest parent ON parent.registry_id = manifest_child.registry_id AND parent.id = manifest_child.parent_id WHERE manifest_child.registry_id = NEW.registry_id AND manifest_child.repository_id = NEW.repository_id AND manifest_child.child = NEW.digest AND parent.deleted_at IS NULL)) THEN 1 ELSE 0 END, project_id = (SELECT r.project_id FROM repository r WHERE r.registry_id = NEW.registry_id AND r.id = NEW.repository_id) WHERE id = NEW.id;
END;

CREATE TRIGGER manifest_turned AFTER UPDATE OF deleted_at ON manifest WHEN (OLD.deleted_at IS NULL) <> (NEW.deleted_at IS NULL) BEGIN
UPDATE manifest SET shown = CASE WHEN NEW.deleted_at IS NULL AND NEW.subject IS NULL AND NOT EXISTS (SELECT 1 FROM tag WHERE tag.registry_id = NEW.registry_id AND tag.manifest_id = NEW.id AND tag.end_at IS NULL AND tag.name >= 'sha256-' AND tag.name < 'sha256.' AND length(tag.name) = 75 AND substr(tag.name, 72) = '.sig') AND (EXISTS (SELECT 1 FROM tag WHERE tag.registry_id = NEW.registry_id AND tag.manifest_id = NEW.id AND tag.end_at IS NULL) OR NOT EXISTS (SELECT 1 FROM manifest_child JOIN manifest parent ON parent.registry_id = manifest_child.registry_id AND parent.id = manifest_child.parent_id WHERE manifest_child.registry_id = NEW.registry_id AND manifest_child.repository_id = NEW.repository_id AND manifest_child.child = NEW.digest AND parent.deleted_at IS NULL)) THEN 1 ELSE 0 END WHERE id = NEW.id;
UPDATE manifest SET shown = CASE WHEN manifest.deleted_at IS NULL AND manifest.subject IS NULL AND NOT EXISTS (SELECT 1 FROM tag WHERE tag.registry_id = manifest.registry_id AND tag.manifest_id = manifest.id AND tag.end_at IS NULL AND tag.name >= 'sha256-' AND tag.name < 'sha256.' AND length(tag.name) = 75 AND substr(tag.name, 72) = '.sig') AND (EXISTS (SELECT 1 FROM tag WHERE tag.registry_id = manifest.registry_id AND tag.manifest_id = manifest.id AND tag.end_at IS NULL) OR NOT EXISTS (SELECT 1 FROM manifest_child JOIN manifest parent ON parent.registry_id = manifest_child.registry_id AND parent.id = manifest_child.parent_id WHERE manifest_child.registry_id = manifest.registry_id AND manifest_child.repository_id = manifest.repository_id AND manifest_child.child = manifest.digest AND parent.deleted_at IS NULL)) THEN 1 ELSE 0 END WHERE registry_id = NEW.registry_id AND repository_id = NEW.repository_id AND digest IN (SELECT child FROM manifest_child WHERE registry_id = NEW.registry_id AND parent_id = NEW.id);
END;

CREATE TRIGGER manifest_shown AFTER UPDATE OF shown ON manifest WHEN coalesce(NEW.shown, 0) - coalesce(OLD.shown, 0) <> 0 BEGIN
UPDATE repository SET artifacts = artifacts + coalesce(NEW.shown, 0) - coalesce(OLD.shown, 0) WHERE registry_id = NEW.registry_id AND id = NEW.repository_id;
END;

CREATE TRIGGER manifest_uncounted AFTER DELETE ON manifest WHEN OLD.shown = 1 BEGIN
UPDATE repository SET artifacts = artifacts - 1 WHERE registry_id = OLD.registry_id AND id = OLD.repository_id;
END;

CREATE TRIGGER tag_counted AFTER INSERT ON tag WHEN NEW.end_at IS NULL BEGIN
UPDATE manifest SET shown = CASE WHEN manifest.deleted_at IS NULL AND manifest.subject IS NULL AND NOT EXISTS (SELECT 1 FROM tag WHERE tag.registry_id = manifest.registry_id AND tag.manifest_id = manifest.id AND tag.end_at IS NULL AND tag.name >= 'sha256-' AND tag.name < 'sha256.' AND length(tag.name) = 75 AND substr(tag.name, 72) = '.sig') AND (EXISTS (SELECT 1 FROM tag WHERE tag.registry_id = manifest.registry_id AND tag.manifest_id = manifest.id AND tag.end_at IS NULL) OR NOT EXISTS (SELECT 1 FROM manifest_child JOIN manifest parent ON parent.registry_id = manifest_child.registry_id AND parent.id = manifest_child.parent_id WHERE manifest_child.registry_id = manifest.registry_id AND manifest_child.repository_id = manifest.repository_id AND manifest_child.child = manifest.digest AND parent.deleted_at IS NULL)) THEN 1 ELSE 0 END WHERE registry_id = NEW.registry_id AND id = NEW.manifest_id AND (shown IS NOT 1 OR NEW.name >= 'sha256-' AND NEW.name < 'sha256.' AND length(NEW.name) = 75 AND substr(NEW.name, 72) = '.sig');
END;

CREATE TRIGGER tag_turned AFTER UPDATE OF end_at ON tag WHEN (OLD.end_at IS NULL) <> (NEW.end_at IS NULL) BEGIN
UPDATE manifest SET shown = CASE WHEN manifest.deleted_at IS NULL AND manifest.subject IS NULL AND NOT EXISTS (SELECT 1 FROM tag WHERE tag.registry_id = manifest.registry_id AND tag.manifest_id = manifest.id AND tag.end_at IS NULL AND tag.name >= 'sha256-' AND tag.name < 'sha256.' AND length(tag.name) = 75 AND substr(tag.name, 72) = '.sig') AND (EXISTS (SELECT 1 FROM tag WHERE tag.registry_id = manifest.registry_id AND tag.manifest_id = manifest.id AND tag.end_at IS NULL) OR NOT EXISTS (SELECT 1 FROM manifest_child JOIN manifest parent ON parent.registry_id = manifest_child.registry_id AND parent.id = manifest_child.parent_id WHERE manifest_child.registry_id = manifest.registry_id AND manifest_child.repository_id = manifest.repository_id AND manifest_child.child = manifest.digest AND parent.deleted_at IS NULL)) THEN 1 ELSE 0 END WHERE registry_id = NEW.registry_id AND id = NEW.manifest_id AND shown IS NOT CASE WHEN manifest.deleted_at IS NULL AND manifest.subject IS NULL AND NOT EXISTS (SELECT 1 FROM tag WHERE tag.registry_id = manifest.registry_id AND tag.manifest_id = manifest.id AND tag.end_at IS NULL AND tag.name >= 'sha256-' AND tag.name < 'sha256.' AND length(tag.name) = 75 AND substr(tag.name, 72) = '.sig') AND (EXISTS (SELECT 1 FROM tag WHERE tag.registry_id = manifest.registry_id AND tag.manifest_id = manifest.id AND tag.end_at IS NULL) OR NOT EXISTS (SELECT 1 FROM manifest_child JOIN manifest parent ON parent.registry_id = manifest_child.registry_id AND parent.id = manifest_child.parent_id WHERE manifest_child.registry_id = manifest.registry_id AND manifest_child.repository_id = manifest.repository_id AND manifest_child.child = manifest.digest AND parent.deleted_at IS NULL)) THEN 1 ELSE 0 END;
END;

CREATE TRIGGER tag_uncounted AFTER DELETE ON tag WHEN OLD.end_at IS NULL BEGIN
UPDATE manifest SET shown = CASE WHEN manifest.deleted_at IS NULL AND manifest.subject IS NULL AND NOT EXISTS (SELECT 1 FROM tag WHERE tag.registry_id = manifest.registry_id AND tag.manifest_id = manifest.id AND tag.end_at IS NULL AND tag.name >= 'sha256-' AND tag.name < 'sha256.' AND length(tag.name) = 75 AND substr(tag.name, 72) = '.sig') AND (EXISTS (SELECT 1 FROM tag WHERE tag.registry_id = manifest.registry_id AND tag.manifest_id = manifest.id AND tag.end_at IS NULL) OR NOT EXISTS (SELECT 1 FROM manifest_child JOIN manifest parent ON parent.registry_id = manifest_child.registry_id AND parent.id = manifest_child.parent_id WHERE manifest_child.registry_id = manifest.registry_id AND manifest_child.repository_id = manifest.repository_id AND manifest_child.child = manifest.digest AND parent.deleted_at IS NULL)) THEN 1 ELSE 0 END WHERE registry_id = OLD.registry_id AND id = OLD.manifest_id AND shown IS NOT CASE WHEN manifest.deleted_at IS NULL AND manifest.subject IS NULL AND NOT EXISTS (SELECT 1 FROM tag WHERE tag.registry_id = manifest.registry_id AND tag.manifest_id = manifest.id AND tag.end_at IS NULL AND tag.name >= 'sha256-' AND tag.name < 'sha256.' AND length(tag.name) = 75 AND substr(tag.name, 72) = '.sig') AND (EXISTS (SELECT 1 FROM tag WHERE tag.registry_id = manifest.registry_id AND tag.manifest_id = manifest.id AND tag.end_at IS NULL) OR NOT EXISTS (SELECT 1 FROM manifest_child JOIN manifest parent ON parent.registry_id = manifest_child.registry_id AND parent.id = manifest_child.parent_id WHERE manifest_child.registry_id = manifest.registry_id AND manifest_child.repository_id = manifest.repository_id AND manifest_child.child = manifest.digest AND parent.deleted_at IS NULL)) THEN 1 ELSE 0 END;
END;

CREATE TRIGGER manifest_child_counted AFTER INSERT ON manifest_child BEGIN
UPDATE manifest SET shown = CASE WHEN manifest.deleted_at IS NULL AND manifest.subject IS NULL AND NOT EXISTS (SELECT 1 FROM tag WHERE tag.registry_id = manifest.registry_id AND tag.manifest_id = manifest.id AND tag.end_at IS NULL AND tag.name >= 'sha256-' AND tag.name < 'sha256.' AND length(tag.name) = 75 AND substr(tag.name, 72) = '.sig') AND (EXISTS (SELECT 1 FROM tag WHERE tag.registry_id = manifest.registry_id AND tag.manifest_id = manifest.id AND tag.end_at IS NULL) OR NOT EXISTS (SELECT 1 FROM manifest_child JOIN manifest parent ON parent.registry_id = manifest_child.registry_id AND parent.id = manifest_child.parent_id WHERE manifest_child.registry_id = manifest.registry_id AND manifest_child.repository_id = manifest.repository_id AND manifest_child.child = manifest.digest AND parent.deleted_at IS NULL)) THEN 1 ELSE 0 END WHERE registry_id = NEW.registry_id AND repository_id = NEW.repository_id AND digest = NEW.child AND shown IS NOT 0;
END;

CREATE TRIGGER pull_stat_counted AFTER INSERT ON pull_stat BEGIN
UPDATE repository SET pulls = pulls + NEW.pulls WHERE registry_id = NEW.registry_id AND id = (SELECT m.repository_id FROM manifest m WHERE m.registry_id = NEW.registry_id AND m.id = NEW.manifest_id);
END;

CREATE TRIGGER pull_stat_more AFTER UPDATE OF pulls ON pull_stat BEGIN
UPDATE repository SET pulls = pulls + NEW.pulls - OLD.pulls WHERE registry_id = NEW.registry_id AND id = (SELECT m.repository_id FROM manifest m WHERE m.registry_id = NEW.registry_id AND m.id = NEW.manifest_id);
END;

CREATE TRIGGER pull_stat_uncounted AFTER DELETE ON pull_stat BEGIN
UPDATE repository SET pulls = pulls - OLD.pulls WHERE registry_id = OLD.registry_id AND id = (SELECT m.repository_id FROM manifest m WHERE m.registry_id = OLD.registry_id AND m.id = OLD.manifest_id);
END;

CREATE TRIGGER repository_counted AFTER INSERT ON repository BEGIN
UPDATE project SET repositories = repositories + CASE WHEN NEW.deleted_at IS NULL AND NEW.state = 'live' THEN 1 ELSE 0 END, artifacts = artifacts + CASE WHEN NEW.deleted_at IS NULL AND NEW.state = 'live' THEN 1 ELSE 0 END * NEW.artifacts WHERE registry_id = NEW.registry_id AND id = NEW.project_id;
END;

CREATE TRIGGER repository_more AFTER UPDATE OF artifacts ON repository WHEN OLD.artifacts <> NEW.artifacts AND CASE WHEN NEW.deleted_at IS NULL AND NEW.state = 'live' THEN 1 ELSE 0 END BEGIN
UPDATE project SET artifacts = artifacts + NEW.artifacts - OLD.artifacts WHERE registry_id = NEW.registry_id AND id = NEW.project_id;
END;

CREATE TRIGGER repository_moved AFTER UPDATE OF state, deleted_at, project_id ON repository WHEN CASE WHEN OLD.deleted_at IS NULL AND OLD.state = 'live' THEN 1 ELSE 0 END <> CASE WHEN NEW.deleted_at IS NULL AND NEW.state = 'live' THEN 1 ELSE 0 END OR OLD.project_id <> NEW.project_id BEGIN
UPDATE project SET repositories = repositories - CASE WHEN OLD.deleted_at IS NULL AND OLD.state = 'live' THEN 1 ELSE 0 END, artifacts = artifacts - CASE WHEN OLD.deleted_at IS NULL AND OLD.state = 'live' THEN 1 ELSE 0 END * OLD.artifacts WHERE registry_id = OLD.registry_id AND id = OLD.project_id;
UPDATE project SET repositories = repositories + CASE WHEN NEW.deleted_at IS NULL AND NEW.state = 'live' THEN 1 ELSE 0 END, artifacts = artifacts + CASE WHEN NEW.deleted_at IS NULL AND NEW.state = 'live' THEN 1 ELSE 0 END * NEW.artifacts WHERE registry_id = NEW.registry_id AND id = NEW.project_id;
UPDATE manifest SET project_id = NEW.project_id WHERE registry_id = NEW.registry_id AND repository_id = NEW.id AND OLD.project_id <> NEW.project_id;
END;

CREATE TRIGGER repository_uncounted AFTER DELETE ON repository BEGIN
UPDATE project SET repositories = repositories - CASE WHEN OLD.deleted_at IS NULL AND OLD.state = 'live' THEN 1 ELSE 0 END, artifacts = artifacts - CASE WHEN OLD.deleted_at IS NULL AND OLD.state = 'live' THEN 1 ELSE 0 END * OLD.artifacts WHERE registry_id = OLD.registry_id AND id = OLD.project_id;
END;

CREATE TRIGGER project_counted AFTER INSERT ON project BEGIN
UPDATE registry SET projects = projects + CASE WHEN NEW.deleted_at IS NULL AND NEW.state = 'live' THEN 1 ELSE 0 END, public_projects = public_projects + CASE WHEN NEW.deleted_at IS NULL AND NEW.state = 'live' THEN 1 ELSE 0 END * NEW.public, repositories = repositories + CASE WHEN NEW.deleted_at IS NULL AND NEW.state = 'live' THEN 1 ELSE 0 END * NEW.repositories, public_repositories = public_repositories + CASE WHEN NEW.deleted_at IS NULL AND NEW.state = 'live' THEN 1 ELSE 0 END * NEW.public * NEW.repositories WHERE registry_id = NEW.registry_id;
END;

CREATE TRIGGER project_more AFTER UPDATE OF repositories ON project WHEN OLD.repositories <> NEW.repositories AND CASE WHEN NEW.deleted_at IS NULL AND NEW.state = 'live' THEN 1 ELSE 0 END BEGIN
UPDATE registry SET repositories = repositories + NEW.repositories - OLD.repositories, public_repositories = public_repositories + NEW.public * (NEW.repositories - OLD.repositories) WHERE registry_id = NEW.registry_id;
END;

CREATE TRIGGER project_turned AFTER UPDATE OF state, deleted_at, public ON project WHEN CASE WHEN OLD.deleted_at IS NULL AND OLD.state = 'live' THEN 1 ELSE 0 END <> CASE WHEN NEW.deleted_at IS NULL AND NEW.state = 'live' THEN 1 ELSE 0 END OR OLD.public <> NEW.public BEGIN
UPDATE registry SET projects = projects - CASE WHEN OLD.deleted_at IS NULL AND OLD.state = 'live' THEN 1 ELSE 0 END, public_projects = public_projects - CASE WHEN OLD.deleted_at IS NULL AND OLD.state = 'live' THEN 1 ELSE 0 END * OLD.public, repositories = repositories - CASE WHEN OLD.deleted_at IS NULL AND OLD.state = 'live' THEN 1 ELSE 0 END * OLD.repositories, public_repositories = public_repositories - CASE WHEN OLD.deleted_at IS NULL AND OLD.state = 'live' THEN 1 ELSE 0 END * OLD.public * OLD.repositories WHERE registry_id = OLD.registry_id;
UPDATE registry SET projects = projects + CASE WHEN NEW.deleted_at IS NULL AND NEW.state = 'live' THEN 1 ELSE 0 END, public_projects = public_projects + CASE WHEN NEW.deleted_at IS NULL AND NEW.state = 'live' THEN 1 ELSE 0 END * NEW.public, repositories = repositories + CASE WHEN NEW.deleted_at IS NULL AND NEW.state = 'live' THEN 1 ELSE 0 END * NEW.repositories, public_repositories = public_repositories + CASE WHEN NEW.deleted_at IS NULL AND NEW.state = 'live' THEN 1 ELSE 0 END * NEW.public * NEW.repositories WHERE registry_id = NEW.registry_id;
END;

CREATE TRIGGER project_uncounted AFTER DELETE ON project BEGIN
UPDATE registry SET projects = projects - CASE WHEN OLD.deleted_at IS NULL AND OLD.state = 'live' THEN 1 ELSE 0 END, public_projects = public_projects - CASE WHEN OLD.deleted_at IS NULL AND OLD.state = 'live' THEN 1 ELSE 0 END * OLD.public, repositories = repositories - CASE WHEN OLD.deleted_at IS NULL AND OLD.state = 'live' THEN 1 ELSE 0 END * OLD.repositories, public_repositories = public_repositories - CASE WHEN OLD.deleted_at IS NULL AND OLD.state = 'live' THEN 1 ELSE 0 END * OLD.public * OLD.repositories WHERE registry_id = OLD.registry_id;
END;

CREATE TRIGGER member_named AFTER INSERT ON member BEGIN
UPDATE member SET name = coalesce((SELECT u.name FROM "user" u WHERE u.registry_id = NEW.registry_id AND u.id = NEW.user_id), (SELECT g.name FROM user_group g WHERE g.registry_id = NEW.registry_id AND g.id = NEW.group_id)) WHERE id = NEW.id;
END;

CREATE TRIGGER user_renamed AFTER UPDATE OF name ON user BEGIN
UPDATE member SET name = NEW.name WHERE registry_id = NEW.registry_id AND user_id = NEW.id;
END;

CREATE TRIGGER user_group_renamed AFTER UPDATE OF name ON user_group BEGIN
UPDATE member SET name = NEW.name WHERE registry_id = NEW.registry_id AND group_id = NEW.id;
END;
