CREATE OR REPLACE FUNCTION manifest_shows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
IF TG_OP = 'INSERT' THEN NEW.project_id := (SELECT r.project_id FROM repository r WHERE r.registry_id = NEW.registry_id AND r.id = NEW.repository_id); END IF;
NEW.shown := CASE WHEN NEW.deleted_at IS NULL AND NEW.subject IS NULL AND NOT EXISTS (SELECT 1 FROM tag WHERE tag.registry_id = NEW.registry_id AND tag.manifest_id = NEW.id AND tag.end_at IS NULL AND tag.name >= 'sha256-' AND tag.name < 'sha256.' AND length(tag.name) = 75 AND substr(tag.name, 72) = '.sig') AND (EXISTS (SELECT 1 FROM tag WHERE tag.registry_id = NEW.registry_id AND tag.manifest_id = NEW.id AND tag.end_at IS NULL) OR NOT EXISTS (SELECT 1 FROM manifest_child JOIN manifest parent ON parent.registry_id = manifest_child.registry_id AND parent.id = manifest_child.parent_id WHERE manifest_child.registry_id = NEW.registry_id AND manifest_child.repository_id = NEW.repository_id AND manifest_child.child = NEW.digest AND parent.deleted_at IS NULL)) THEN 1 ELSE 0 END;
RETURN NEW;
END
$$;

CREATE OR REPLACE FUNCTION manifest_counts() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE step BIGINT := coalesce(NEW.shown, 0) - coalesce(OLD.shown, 0);
BEGIN
IF step <> 0 THEN UPDATE repository SET artifacts = artifacts + step WHERE registry_id = coalesce(NEW.registry_id, OLD.registry_id) AND id = coalesce(NEW.repository_id, OLD.repository_id); END IF;
IF TG_OP = 'UPDATE' AND (OLD.deleted_at IS NULL) <> (NEW.deleted_at IS NULL) THEN UPDATE manifest SET shown = CASE WHEN manifest.deleted_at IS NULL AND manifest.subject IS NULL AND NOT EXISTS (SELECT 1 FROM tag WHERE tag.registry_id = manifest.registry_id AND tag.manifest_id = manifest.id AND tag.end_at IS NULL AND tag.name >= 'sha256-' AND tag.name < 'sha256.' AND length(tag.name) = 75 AND substr(tag.name, 72) = '.sig') AND (EXISTS (SELECT 1 FROM tag WHERE tag.registry_id = manifest.registry_id AND tag.manifest_id = manifest.id AND tag.end_at IS NULL) OR NOT EXISTS (SELECT 1 FROM manifest_child JOIN manifest parent ON parent.registry_id = manifest_child.registry_id AND parent.id = manifest_child.parent_id WHERE manifest_child.registry_id = manifest.registry_id AND manifest_child.repository_id = manifest.repository_id AND manifest_child.child = manifest.digest AND parent.deleted_at IS NULL)) THEN 1 ELSE 0 END WHERE registry_id = NEW.registry_id AND repository_id = NEW.repository_id AND digest IN (SELECT child FROM manifest_child WHERE registry_id = NEW.registry_id AND parent_id = NEW.id); END IF;
RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION tag_counts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
UPDATE manifest SET shown = CASE WHEN manifest.deleted_at IS NULL AND manifest.subject IS NULL AND NOT EXISTS (SELECT 1 FROM tag WHERE tag.registry_id = manifest.registry_id AND tag.manifest_id = manifest.id AND tag.end_at IS NULL AND tag.name >= 'sha256-' AND tag.name < 'sha256.' AND length(tag.name) = 75 AND substr(tag.name, 72) = '.sig') AND (EXISTS (SELECT 1 FROM tag WHERE tag.registry_id = manifest.registry_id AND tag.manifest_id = manifest.id AND tag.end_at IS NULL) OR NOT EXISTS (SELECT 1 FROM manifest_child JOIN manifest parent ON parent.registry_id = manifest_child.registry_id AND parent.id = manifest_child.parent_id WHERE manifest_child.registry_id = manifest.registry_id AND manifest_child.repository_id = manifest.repository_id AND manifest_child.child = manifest.digest AND parent.deleted_at IS NULL)) THEN 1 ELSE 0 END WHERE registry_id = coalesce(NEW.registry_id, OLD.registry_id) AND id = coalesce(NEW.manifest_id, OLD.manifest_id) AND (TG_OP <> 'INSERT' OR shown IS DISTINCT FROM 1 OR (NEW.name >= 'sha256-' AND NEW.name < 'sha256.' AND length(NEW.name) = 75 AND substr(NEW.name, 72) = '.sig')) AND shown IS DISTINCT FROM CASE WHEN manifest.deleted_at IS NULL AND manifest.subject IS NULL AND NOT EXISTS (SELECT 1 FROM tag WHERE tag.registry_id = manifest.registry_id AND tag.manifest_id = manifest.id AND tag.end_at IS NULL AND tag.name >= 'sha256-' AND tag.name < 'sha256.' AND length(tag.name) = 75 AND substr(tag.name, 72) = '.sig') AND (EXISTS (SELECT 1 FROM tag WHERE tag.registry_id = manifest.registry_id AND tag.manifest_id = manifest.id AND tag.end_at IS NULL) OR NOT EXISTS (SELECT 1 FROM manifest_child JOIN manifest parent ON parent.registry_id = manifest_child.registry_id AND parent.id = manifest_child.parent_id WHERE manifest_child.registry_id = manifest.registry_id AND manifest_child.repository_id = manifest.repository_id AND manifest_child.child = manifest.digest AND parent.deleted_at IS NULL)) THEN 1 ELSE 0 END;
RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION manifest_child_counts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
UPDATE manifest SET shown = CASE WHEN manifest.deleted_at IS NULL AND manifest.subject IS NULL AND NOT EXISTS (SELECT 1 FROM tag WHERE tag.registry_id = manifest.registry_id AND tag.manifest_id = manifest.id AND tag.end_at IS NULL AND tag.name >= 'sha256-' AND tag.name < 'sha256.' AND length(tag.name) = 75 AND substr(tag.name, 72) = '.sig') AND (EXISTS (SELECT 1 FROM tag WHERE tag.registry_id = manifest.registry_id AND tag.manifest_id = manifest.id AND tag.end_at IS NULL) OR NOT EXISTS (SELECT 1 FROM manifest_child JOIN manifest parent ON parent.registry_id = manifest_child.registry_id AND parent.id = manifest_child.parent_id WHERE manifest_child.registry_id = manifest.registry_id AND manifest_child.repository_id = manifest.repository_id AND manifest_child.child = manifest.digest AND parent.deleted_at IS NULL)) THEN 1 ELSE 0 END WHERE registry_id = NEW.registry_id AND repository_id = NEW.repository_id AND digest = NEW.child AND shown IS DISTINCT FROM 0;
RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION pull_stat_counts() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE step BIGINT := coalesce(NEW.pulls, 0) - coalesce(OLD.pulls, 0);
BEGIN
UPDATE repository SET pulls = pulls + step WHERE registry_id = coalesce(NEW.registry_id, OLD.registry_id) AND id = (SELECT m.repository_id FROM manifest m WHERE m.registry_id = coalesce(NEW.registry_id, OLD.registry_id) AND m.id = coalesce(NEW.manifest_id, OLD.manifest_id));
RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION repository_counts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
IF TG_OP = 'UPDATE' AND NOT (CASE WHEN OLD.deleted_at IS NULL AND OLD.state = 'live' THEN 1 ELSE 0 END <> CASE WHEN NEW.deleted_at IS NULL AND NEW.state = 'live' THEN 1 ELSE 0 END OR OLD.project_id <> NEW.project_id) THEN UPDATE project SET artifacts = artifacts + NEW.artifacts - OLD.artifacts WHERE registry_id = NEW.registry_id AND id = NEW.project_id AND 1 = CASE WHEN NEW.deleted_at IS NULL AND NEW.state = 'live' THEN 1 ELSE 0 END; RETURN NULL; END IF;
IF TG_OP <> 'INSERT' THEN UPDATE project SET repositories = repositories - CASE WHEN OLD.deleted_at IS NULL AND OLD.state = 'live' THEN 1 ELSE 0 END, artifacts = artifacts - CASE WHEN OLD.deleted_at IS NULL AND OLD.state = 'live' THEN 1 ELSE 0 END * OLD.artifacts WHERE registry_id = OLD.registry_id AND id = OLD.project_id; END IF;
IF TG_OP <> 'DELETE' THEN UPDATE project SET repositories = repositories + CASE WHEN NEW.deleted_at IS NULL AND NEW.state = 'live' THEN 1 ELSE 0 END, artifacts = artifacts + CASE WHEN NEW.deleted_at IS NULL AND NEW.state = 'live' THEN 1 ELSE 0 END * NEW.artifacts WHERE registry_id = NEW.registry_id AND id = NEW.project_id; END IF;
IF TG_OP = 'UPDATE' AND OLD.project_id <> NEW.project_id THEN UPDATE manifest SET project_id = NEW.project_id WHERE registry_id = NEW.registry_id AND repository_id = NEW.id; END IF;
RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION project_counts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
IF TG_OP <> 'INSERT' THEN UPDATE registry SET projects = projects - CASE WHEN OLD.deleted_at IS NULL AND OLD.state = 'live' THEN 1 ELSE 0 END, public_projects = public_projects - CASE WHEN OLD.deleted_at IS NULL AND OLD.state = 'live' THEN 1 ELSE 0 END * OLD.public, repositories = repositories - CASE WHEN OLD.deleted_at IS NULL AND OLD.state = 'live' THEN 1 ELSE 0 END * OLD.repositories, public_repositories = public_repositories - CASE WHEN OLD.deleted_at IS NULL AND OLD.state = 'live' THEN 1 ELSE 0 END * OLD.public * OLD.repositories WHERE registry_id = OLD.registry_id; END IF;
IF TG_OP <> 'DELETE' THEN UPDATE registry SET projects = projects + CASE WHEN NEW.deleted_at IS NULL AND NEW.state = 'live' THEN 1 ELSE 0 END, public_projects = public_projects + CASE WHEN NEW.deleted_at IS NULL AND NEW.state = 'live' THEN 1 ELSE 0 END * NEW.public, repositories = repositories + CASE WHEN NEW.deleted_at IS NULL AND NEW.state = 'live' THEN 1 ELSE 0 END * NEW.repositories, public_repositories = public_repositories + CASE WHEN NEW.deleted_at IS NULL AND NEW.state = 'live' THEN 1 ELSE 0 END * NEW.public * NEW.repositories WHERE registry_id = NEW.registry_id; END IF;
RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION member_names() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
NEW.name := coalesce((SELECT u.name FROM "user" u WHERE u.registry_id = NEW.registry_id AND u.id = NEW.user_id), (SELECT g.name FROM user_group g WHERE g.registry_id = NEW.registry_id AND g.id = NEW.group_id));
RETURN NEW;
END
$$;

CREATE OR REPLACE FUNCTION user_names() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
UPDATE member SET name = NEW.name WHERE registry_id = NEW.registry_id AND user_id = NEW.id;
RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION user_group_names() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
UPDATE member SET name = NEW.name WHERE registry_id = NEW.registry_id AND group_id = NEW.id;
RETURN NULL;
END
$$;
